"""What is written to the API server, without one."""

from __future__ import annotations

from km.cluster.deeds import resized
from km.pods import Sizes

CPU = {"requests": {"cpu": "1"}}


def test_a_resize_names_only_what_the_pod_has() -> None:
    assert resized(Sizes((("main", CPU),))) == {"containers": [{"name": "main", "resources": CPU}]}


def test_a_resize_puts_sidecars_and_the_pods_own_resources_back_as_well() -> None:
    sizes = Sizes((("main", {}),), (("proxy", CPU),), {"limits": {"memory": "1Gi"}})

    assert resized(sizes) == {
        "containers": [{"name": "main", "resources": {}}],
        "initContainers": [{"name": "proxy", "resources": CPU}],
        "resources": {"limits": {"memory": "1Gi"}},
    }
