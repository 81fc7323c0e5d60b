"""How soon what Kubernetes gives back is another framework's: a real Mesos, km and API server.

``python3 -m bench.sharing [TIMES]`` prints one line of figures.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.control_plane import control_plane
from tests.km.km_process import Stage
from tests.km.shared_mesos import time_to_flow_back, two_nodes
from tests.mesos_cluster import mesos_cluster, wait_until

TARGET_S = 5.0


def main(times: int) -> None:
    with ExitStack() as running:
        directory = Path(running.enter_context(tempfile.TemporaryDirectory()))
        kube = running.enter_context(control_plane(directory / "kubernetes"))
        mesos = running.enter_context(mesos_cluster(directory))
        stage = Stage(directory, kube, mesos)
        running.callback(stage.close)
        km = two_nodes(stage)
        taken = []
        for _ in range(times):
            taken.append(time_to_flow_back(stage, km))
            wait_until(lambda: not stage.bound(), 30, "pods gone")
    print(
        f"90 % of idle resources given to a waiting framework after {statistics.median(taken):.2f} "
        f"s (median of {times}, longest {max(taken):.2f} s, target {TARGET_S:g} s)"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
