"""Asks the leading Mesos master for what is the operator's to ask: weights, quota, frameworks.

Runs on a control host, sent there as text: standard library only, Python 3.10 and later.

    python3 operator_api.py MASTERS share FILE < roles.json
    python3 operator_api.py MASTERS unshare FILE
    python3 operator_api.py MASTERS registered NAME ROLE
    python3 operator_api.py MASTERS teardown NAME

MASTERS is ``host:port[,host:port…]``; FILE remembers the roles that are ours to set. Each change
is said in one line on stdout.
https://mesos.apache.org/documentation/latest/operator-http-api/
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypedDict

PATIENCE_S = 30.0
"""How long a leading master is waited for: an election takes seconds."""

HEADERS = {"Content-Type": "application/json", "Accept": "application/json"}


class Share(TypedDict):
    """What a role gets; amounts by Mesos' names (cpus, mem and disk in MiB, gpus)."""

    weight: float
    guarantees: dict[str, float]
    limits: dict[str, float]


NOTHING_SAID: Share = {"weight": 1.0, "guarantees": {}, "limits": {}}


class NoMaster(Exception):  # noqa: N818
    """No leading master answered in time."""


class Refused(Exception):  # noqa: N818
    """The master understood, and said no."""


class Redirected(urllib.request.HTTPRedirectHandler):
    """Leaves 307 to `Operator`: urllib would not send a body to another host."""

    def redirect_request(self, *_: Any) -> None:
        return None


class Operator:
    """The leading master's operator API."""

    def __init__(self, masters: Iterable[str], patience: float = PATIENCE_S) -> None:
        self._masters = list(masters)
        self._patience = patience
        self._opener = urllib.request.build_opener(Redirected)

    def call(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Ask the masters in turn until the leading one answers.

        Raises:
            NoMaster: None did.
            Refused: It did not want to.
        """
        end = time.monotonic() + self._patience
        body = json.dumps({"type": kind, **fields}).encode()
        while True:
            reasons = []
            for master in self._masters:
                try:
                    return self._ask(master, body)
                except OSError as error:
                    reasons.append(f"{master}: {error}")
            if time.monotonic() > end:
                raise NoMaster(f"no leading Mesos master answers: {'; '.join(reasons)}")
            time.sleep(0.5)

    def _ask(self, master: str, body: bytes, redirects: int = 3) -> dict[str, Any]:
        request = urllib.request.Request(f"http://{master}/api/v1", body, HEADERS)
        try:
            with self._opener.open(request, timeout=10) as response:
                content = response.read()
        except urllib.error.HTTPError as error:
            said = error.read().decode(errors="replace").strip()
            where = error.headers.get("Location", "")
            if error.code == 307 and where and redirects:
                leader = where.partition("//")[2].partition("/")[0]  # //host:port/api/v1
                return self._ask(leader, body, redirects - 1)
            if 400 <= error.code < 500:
                raise Refused(said or f"status {error.code}") from error
            raise OSError(f"{error.code} {said}") from error  # 503: no leader, or not recovered yet
        found: dict[str, Any] = json.loads(content) if content else {}
        return found

    def shares(self) -> dict[str, Share]:
        """What is set at the moment, by role."""
        # What is empty is left out, at every level.
        quota = self.call("GET_QUOTA").get("get_quota", {}).get("status", {})
        weights = self.call("GET_WEIGHTS").get("get_weights", {}).get("weight_infos", [])
        found: dict[str, Share] = {}
        for config in quota.get("configs", []):
            found[config["role"]] = {
                "weight": 1.0,
                "guarantees": amounts(config.get("guarantees", {})),
                "limits": amounts(config.get("limits", {})),
            }
        for info in weights:
            role = info.get("role", "*")
            found[role] = {**found.get(role, NOTHING_SAID), "weight": info["weight"]}
        return found

    def set_shares(self, wanted: Mapping[str, Share]) -> list[str]:
        """Bring the roles to what is wanted; say what changed.

        All quota is one call: what one role gives up, another may be guaranteed. It comes first,
        because it is what Mesos may refuse.
        """
        present = self.shares()
        quota, weights, said = [], [], []
        for role, share in sorted(wanted.items()):
            before = present.get(role, NOTHING_SAID)
            if quota_of(before) != quota_of(share):
                quota.append({"role": role, **quota_of(share)})
                said.append(f"{role}: {words(before)} -> {words(share)}")
            if before["weight"] != share["weight"]:
                weights.append({"role": role, "weight": share["weight"]})
                said.append(f"{role}: weight {before['weight']:g} -> {share['weight']:g}")
        if quota:
            self._update_quota(quota)
        if weights:
            self.call("UPDATE_WEIGHTS", update_weights={"weight_infos": weights})
        return said

    def _update_quota(self, configs: list[dict[str, Any]]) -> None:
        """Set quota; agents that come back after their master's restart are waited for."""
        end = time.monotonic() + self._patience
        while True:
            try:
                self.call("UPDATE_QUOTA", update_quota={"quota_configs": configs})
            except Refused as error:
                if "exceed cluster capacity" not in str(error) or time.monotonic() > end:
                    raise
                time.sleep(1)
            else:
                return

    def frameworks(self, name: str) -> list[dict[str, Any]]:
        """All frameworks of that name that the master has not removed."""
        listed = self.call("GET_FRAMEWORKS").get("get_frameworks", {}).get("frameworks", [])
        return [one for one in listed if one["framework_info"]["name"] == name]

    def teardown(self, name: str) -> list[str]:
        """End what has this name: its tasks and executors are killed, Mesos forgets it."""
        said = []
        for one in self.frameworks(name):
            number = one["framework_info"]["id"]["value"]
            self.call("TEARDOWN", teardown={"framework_id": {"value": number}})
            said.append(f"tore down {name} ({number})")
        return said

    def unregistered(self, name: str, role: str) -> str:
        """Say why a framework is not there as it should be; nothing when it is."""
        active = [one["framework_info"] for one in self.frameworks(name) if one.get("active")]
        if not active:
            return f"Mesos has no active framework {name!r}"
        roles = {role for info in active for role in info.get("roles", [info.get("role", "*")])}
        if role not in roles:
            return f"{name!r} registered with {', '.join(sorted(roles))}, not with role {role!r}"
        return ""


def amounts(configured: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    return {kind: scalar["value"] for kind, scalar in configured.items()}


def quota_of(share: Share) -> dict[str, dict[str, dict[str, float]]]:
    """Write a share's quota as Mesos does; both parts empty: no quota. Mesos counts thousandths."""
    return {
        "guarantees": {k: {"value": round(v, 3)} for k, v in sorted(share["guarantees"].items())},
        "limits": {k: {"value": round(v, 3)} for k, v in sorted(share["limits"].items())},
    }


def words(share: Share) -> str:
    """Say a quota in one line."""
    parts = (("guaranteed", share["guarantees"]), ("limited to", share["limits"]))
    texts = [
        f"{verb} {', '.join(f'{kind} {amount:g}' for kind, amount in sorted(named.items()))}"
        for verb, named in parts
        if named
    ]
    return ", ".join(texts) or "no quota"


def share(operator: Operator, wanted: Mapping[str, Share], file: Path) -> list[str]:
    """Set what is wanted, and reset what was ours and is not wanted any more."""
    ours = json.loads(file.read_text()) if file.exists() else []
    # Remembered before it is set: whatever interrupts this, nothing of ours stays for ever.
    remember(file, {*ours, *wanted})
    said = operator.set_shares({**dict.fromkeys(ours, NOTHING_SAID), **wanted})
    remember(file, wanted)
    return said


def remember(file: Path, roles: Iterable[str]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_suffix(".new")
    new.write_text(json.dumps(sorted(roles)))
    os.replace(new, file)  # noqa: PTH105


def main(masters: str, verb: str, *given: str) -> int:
    operator = Operator(masters.split(","))
    said: list[str] = []
    if verb == "share":
        said = share(operator, json.load(sys.stdin), Path(given[0]))
    elif verb == "unshare":
        said = share(operator, {}, Path(given[0]))
        Path(given[0]).unlink()
    elif verb == "teardown":
        said = operator.teardown(given[0])
    elif verb == "registered":
        if why := operator.unregistered(given[0], given[1]):
            print(why, file=sys.stderr)
            return 1
    else:
        print(f"{verb!r} is not share, unshare, registered or teardown", file=sys.stderr)
        return 64
    print("\n".join(said), end="\n" if said else "")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except NoMaster as error:
        print(error, file=sys.stderr)
        sys.exit(75)  # EX_TEMPFAIL
    except Refused as error:
        with contextlib.suppress(BrokenPipeError):
            print(f"Mesos refused: {error}", file=sys.stderr)
        sys.exit(1)
