"""A bridge and a /24 of its own for each lab.

The bridge carries traffic between the lab's hosts and this machine, and nothing else: hosts get
no route to the internet, because they need none.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
from collections.abc import Iterator

from lab import paths, state
from lab.commands import run, say, succeeds
from lab.errors import LabError
from lab.processes import boot_id
from lab.spec import NetworkSpec
from lab.state import Network

POOL = ipaddress.IPv4Network("10.90.0.0/16")


def up(spec: NetworkSpec) -> dict[str, str]:
    """Claim a network for a lab and make its bridge; the same again when it has one.

    Raises:
        LabError: the network asked for overlaps another.
    """
    with state.locked(paths.LABS):
        chosen = choose(spec.lab, spec.network)
        claimed = state.read_network(spec.lab)
        network = Network(
            lab=spec.lab,
            network=chosen,
            bridge=bridge_name(spec.lab),
            owner=spec.owner or (claimed.owner if claimed else ""),
            boot=boot_id(),
        )
        if network != claimed:
            state.write_network(network)
        _make_bridge(network)
    return network.result()


def choose(lab: str, wanted: ipaddress.IPv4Network | None) -> ipaddress.IPv4Network:
    """The network that a lab has or can have; None leaves the choice to us. Claims nothing.

    Raises:
        LabError: it has another one, the wanted one overlaps what is in use, or none is free.
    """
    claimed = state.read_network(lab)
    if claimed and wanted and claimed.network != wanted:
        raise LabError(
            f"network: lab {lab} has {claimed.network} and cannot change to "
            f"{wanted}; take the lab down first"
        )
    if claimed:
        return claimed.network
    taken = list(_taken())
    if wanted is None:
        return _free(lab, [network for network, _ in taken])
    for network, holder in taken:
        if network.overlaps(wanted):
            raise LabError(
                f"network: {wanted} overlaps {network} of {holder}; "
                "choose another /24 or leave it to the lab (null)"
            )
    return wanted


def ensure(lab: str) -> Network:
    """The network of a lab, its bridge made again after a reboot.

    Raises:
        LabError: the lab has none.
    """
    network = state.read_network(lab)
    if network is None:
        raise LabError(f"lab {lab} has no network; run `lab network up` first")
    with state.locked(paths.LABS):
        _make_bridge(network)
    return network


def remove(lab: str) -> None:
    """Remove the bridge and give the network back, whatever is left of its record."""
    bridge = bridge_name(lab)
    if exists(bridge):
        # The kernel takes a host's link away some time after its last process has gone.
        for link in json.loads(run("ip", "-json", "link", "show", "master", bridge) or "[]"):
            succeeds(["ip", "link", "delete", link["ifname"]])
        run("ip", "link", "delete", bridge)
        say(f"network {lab}: bridge {bridge} removed")
    (state.lab_path(lab) / "network.json").unlink(missing_ok=True)


def bridge_name(lab: str) -> str:
    """Interface names have 15 characters at most; a lab's id has 12."""
    return f"km-{lab}"


def exists(interface: str) -> bool:
    return succeeds(["ip", "link", "show", "dev", interface])


def _free(lab: str, taken: list[ipaddress.IPv4Network]) -> ipaddress.IPv4Network:
    """A free /24, the same one each time as long as nobody else has it."""
    candidates = list(POOL.subnets(new_prefix=24))
    first = int(hashlib.sha256(lab.encode()).hexdigest(), 16) % len(candidates)
    for candidate in candidates[first:] + candidates[:first]:
        if not any(candidate.overlaps(network) for network in taken):
            return candidate
    raise LabError(f"network: every /24 of {POOL} is taken; take a lab down (`lab list`)")


def _taken() -> Iterator[tuple[ipaddress.IPv4Network, str]]:
    """Every network in use: by other labs, by this machine's interfaces and routes."""
    ours = set()
    for lab in state.labs():
        network = state.readable_network(lab)
        if network:
            ours.add(network.bridge)
            yield network.network, f"lab {lab} ({network.owner or 'no owner given'})"
    for route in json.loads(run("ip", "-json", "-4", "route", "show", "table", "all")):
        if route.get("dev") in ours or route["dst"] == "default":
            continue
        yield ipaddress.IPv4Network(route["dst"]), f"interface {route.get('dev', '?')}"


def _make_bridge(network: Network) -> None:
    if not exists(network.bridge):
        run("ip", "link", "add", network.bridge, "type", "bridge", "forward_delay", "0")
        say(f"network {network.lab}: bridge {network.bridge} with {network.network}")
    address = f"{network.gateway}/{network.network.prefixlen}"
    run("ip", "address", "replace", address, "dev", network.bridge)
    run("ip", "link", "set", network.bridge, "up")
