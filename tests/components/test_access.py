"""What the recipes let users of the API server do."""

from __future__ import annotations

import pytest
import yaml

from components.recipe import RECIPES

DOCUMENTS = list(yaml.safe_load_all((RECIPES / "access.yaml").read_text()))


def rights(kind: str, name: str) -> set[tuple[str, str]]:
    """Pairs of resource and verb."""
    return {
        (resource, verb)
        for document in DOCUMENTS
        if document["kind"] == kind and document["metadata"]["name"] == name
        for rule in document["rules"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


# As "What km needs" in km/README.md says.
@pytest.mark.parametrize(
    ("resource", "verbs"),
    [
        ("pods", "get list watch delete"),
        ("pods/binding", "create"),
        ("pods/eviction", "create"),
        ("pods/resize", "patch"),
        ("nodes", "get list watch patch delete"),
        ("events", "create patch"),
        ("certificatesigningrequests", "get list watch"),
        ("certificatesigningrequests/approval", "update"),
        ("signers", "approve"),
    ],
)
def test_km_may_do_what_it_needs_to(resource, verbs):
    assert {(resource, verb) for verb in verbs.split()} <= rights("ClusterRole", "system:km")


@pytest.mark.parametrize("resource", ["configmaps", "leases"])
def test_km_keeps_its_framework_id_and_lease_in_kube_system(resource):
    wanted = {(resource, verb) for verb in ("get", "create", "update", "patch")}

    assert wanted <= rights("Role", "system:km")


def test_nobody_may_do_everything():
    every = [
        (document["metadata"]["name"], rule)
        for document in DOCUMENTS
        if document["kind"] in ("Role", "ClusterRole")
        for rule in document["rules"]
        if "*" in rule["verbs"] + rule["resources"] + rule["apiGroups"]
    ]

    assert every == []
