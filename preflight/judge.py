"""Which answers are good enough. Pure: answers in, problems out, all of them at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from components.ssh import CIPHERS
from preflight.ask import Answer
from preflight.facts import Facts
from preflight.problems import Problem
from preflight.targets import Target

SYSTEMS = {
    ("debian", "12"): "Debian 12",
    ("debian", "13"): "Debian 13",
    ("ubuntu", "22.04"): "Ubuntu 22.04",
    ("ubuntu", "24.04"): "Ubuntu 24.04",
}
ARCHITECTURES = ("x86_64",)
"""Mesos 1.11 and our builds exist for this one."""

SKEW_SECONDS = 2.0
"""Certificates made now must be valid on the host now; etcd complains from one second on."""

MEMBER_DISK_MB = 1000
"""A member has used what a newcomer must have free; with less than this its services soon stop."""

OWNERS = {
    "kubeadm": ("kubeadm", "kubeadm reset"),
    "kubernetes": ("another Kubernetes", "its own uninstall program"),
    "mesos": ("another Mesos", "apt-get purge mesos, or stop it and remove its files"),
}


def judge(answers: Sequence[Answer], cluster: str) -> list[Problem]:
    """Judge all hosts of the cluster named ``cluster``, each alone and all together."""
    problems = [problem for answer in answers for problem in _alone(answer, cluster)]
    return list(dict.fromkeys([*problems, *_together(answers), *_control_hosts(answers, cluster)]))


def _alone(answer: Answer, cluster: str) -> Iterator[Problem]:
    if answer.facts is None:
        yield _no_answer(answer)
        return
    target, facts = answer.target, answer.facts
    for check in _CHECKS:
        yield from check(target, facts)
    yield from _owner(target, facts, cluster)
    yield from _clock(target, answer.skew)


def _no_answer(answer: Answer) -> Problem:
    """Say why nobody could be asked; a bastion's failure is told once for all hosts behind it."""
    failure = answer.failure or "answer"
    what = {"key-missing": "host key", "key-text": "host key"}.get(failure, failure)
    what = what.replace("-", " ")
    found, allowed, remedy = _failed(failure, answer)
    return Problem(
        host=answer.bastion.address if answer.bastion else answer.target.name,
        what=f"bastion {what}" if answer.bastion else what,
        found=found,
        allowed=allowed,
        remedy=remedy,
    )


def _failed(failure: str, answer: Answer) -> tuple[str, str, str]:
    """Found, allowed and remedy of a connection that there is not."""
    login, detail = answer.bastion or answer.target.login, answer.detail
    its = "`bastion:`'s" if answer.bastion else "its"
    gone = "" if answer.bastion else ", or, if it is dead: `gone: true`"
    return {
        "key-file": (
            detail,
            "a private key with mode 600",
            f"give the right `key:`, or: chmod 600 {login.key}",
        ),
        "key-missing": (
            "no `host_key:` in the stack file",
            "a host key that is known beforehand",
            "make trust STACK=<stack>, and compare the fingerprints",
        ),
        "key-text": (
            f"`host_key:` is no key: {detail}",
            "the whole line that `make trust` writes",
            f"remove {its} `host_key:`, then make trust",
        ),
        "host-key": (
            f"shows {detail or 'another key'}",
            "the key in the stack file",
            f"find out why. If it was installed anew: remove {its} `host_key:`, then make trust",
        ),
        "algorithms": (
            f"{login.where}: {detail}",
            f"a key exchange that both know, and one of {', '.join(CIPHERS)}",
            "see Ciphers, KexAlgorithms and MACs in its sshd_config",
        ),
        "login": (
            f"{login.where}: {detail}",
            "a login with this user and key",
            f"put {login.key or 'the key'}'s public half into ~{login.user}/.ssh/authorized_keys",
        ),
        "forwarding": (
            f"the bastion does not let us through to {login.where}: {detail}",
            "a bastion that forwards TCP",
            "AllowTcpForwarding yes in the bastion's sshd_config; see its PermitOpen, too",
        ),
        "network": (
            f"{login.where}: {detail}",
            "a name and a way that this machine knows",
            f"correct {its} `address:`, or see this machine's network",
        ),
        "hung-up": (
            f"{login.where} ends the talk: {detail}",
            "an SSH server that talks to us",
            f"see its log; MaxStartups, or something that bans addresses{gone}",
        ),
        "connect": (
            f"{login.where}: {detail}",
            "an SSH server that answers",
            f"start it, correct {its} `address:` or `port:`{gone}",
        ),
        "answer": (
            detail or "no answer",
            "an answer to read-only questions",
            f"ssh -p {login.port} {login.user}@{login.address}, and see what a shell says there",
        ),
    }[failure]


def _sudo(target: Target, facts: Facts) -> Iterator[Problem]:
    user = facts.user
    rule = f"echo '{user} ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/kubernetes-mesos"
    found = {
        "missing": f"{user} is not root and there is no sudo",
        "password": f"sudo asks {user} for a password",
        "refused": f"{user} may not use sudo",
    }.get(facts.sudo)
    if found:
        install = "apt-get install sudo; " if facts.sudo == "missing" else ""
        yield _problem(
            target, "sudo", found, "root, or sudo without a password", f"as root: {install}{rule}"
        )


def _system(target: Target, facts: Facts) -> Iterator[Problem]:
    if (facts.os_id, facts.os_version) not in SYSTEMS:
        found = facts.os_name or f"{facts.os_id} {facts.os_version}".strip() or "unknown"
        yield _problem(target, "system", found, ", ".join(SYSTEMS.values()), "install one of these")
    if facts.arch not in ARCHITECTURES:
        yield _problem(
            target, "architecture", facts.arch, ", ".join(ARCHITECTURES), "use another machine"
        )
    if not facts.systemd:
        yield _problem(
            target, "init", "systemd does not run", "systemd", "boot the machine with systemd"
        )


def _size(target: Target, facts: Facts) -> Iterator[Problem]:
    """Refuse newcomers that are too small; what a member lacks is only said (see `concerns`)."""
    if facts.cluster is not None:
        return
    for what, has, needs, unit in _sizes(target, facts, target.disk_mb):
        yield _problem(
            target,
            what,
            f"{has}{unit}",
            f"{needs}{unit} or more",
            f"a larger machine, or fewer roles for {target.name}",
        )


def _sizes(target: Target, facts: Facts, disk_mb: int) -> Iterator[tuple[str, int, int, str]]:
    """What there is too little of: its name, how much there is, how much is needed, the unit."""
    sizes = (
        ("processors", facts.cpus, target.cpus, ""),
        ("memory", facts.memory_mb, target.memory_mb, " MB"),
        ("disk", facts.disk_mb, disk_mb, " MB free under /var/lib"),
    )
    return (size for size in sizes if size[1] < size[2])


def concerns(answers: Sequence[Answer]) -> list[str]:
    """Say what running members lack; it must not keep `up` from repairing or removing them."""
    members = [(answer.target, answer.facts) for answer in answers if answer.facts]
    return [
        f"{target.name}: {what}: {has}{unit}, less than the {needs} that it should have"
        for target, facts in members
        if facts.cluster is not None
        for what, has, needs, unit in _sizes(target, facts, MEMBER_DISK_MB)
    ]


def newcomers(answers: Sequence[Answer], cluster: str) -> list[str]:
    """Say who gets everything beside members: machines that are new, or were installed anew."""
    known = [(answer.target, answer.facts) for answer in answers if answer.facts]
    if not any(facts.cluster == cluster for _, facts in known):
        return []
    return [
        f"{target.name}: nothing of the cluster is on it; `up` puts everything there"
        + (", and its data comes from the other control hosts" if target.control else "")
        for target, facts in known
        if facts.cluster is None
    ]


def _ports(target: Target, facts: Facts) -> Iterator[Problem]:
    ours = facts.cluster is not None
    for listener in facts.listeners:
        unit = target.ports.get(listener.port)
        if unit is None or (ours and listener.unit in {unit, "-"}):
            continue
        by = listener.program if listener.unit == "-" else f"{listener.program} ({listener.unit})"
        stop = (
            f"systemctl disable --now {listener.unit}"
            if listener.unit != "-"
            else f"ss -ltnp 'sport = :{listener.port}', and stop it"
        )
        yield _problem(
            target,
            "port",
            f"{listener.port} is used by {'somebody' if by == '-' else by}",
            f"{listener.port} free for {unit}",
            stop,
        )


def _reach(target: Target, facts: Facts) -> Iterator[Problem]:
    for peer, why in sorted(facts.unreachable.items()):
        yield _problem(
            target,
            "network",
            f"cannot reach {peer}: {why}",
            f"TCP from {target.name} to {peer}",
            f"open the way to {peer} in the firewalls between them",
        )


def _owner(target: Target, facts: Facts, cluster: str) -> Iterator[Problem]:
    if facts.cluster is not None and facts.cluster != cluster:
        yield _problem(
            target,
            "owner",
            f"belongs to cluster {facts.cluster}",
            f"nobody, or {cluster}",
            "take it out of that cluster; if that is gone: rm -r /etc/kubernetes-mesos on the host",
        )
    if facts.cluster is None:
        for owner, path in sorted(facts.installed.items()):
            name, remove = OWNERS[owner]
            yield _problem(
                target, "owner", f"belongs to {name} ({path})", "nobody", f"first: {remove}"
            )


def _clock(target: Target, skew: float) -> Iterator[Problem]:
    if abs(skew) > SKEW_SECONDS:
        yield _problem(
            target,
            "clock",
            f"{abs(skew):.1f} s {'ahead' if skew > 0 else 'behind'}",
            f"{SKEW_SECONDS:.0f} s or less",
            "timedatectl set-ntp true, and see `timedatectl timesync-status`",
        )


def _together(answers: Sequence[Answer]) -> Iterator[Problem]:
    known = [(answer.target, answer.facts) for answer in answers if answer.facts]
    machine_ids = [(target, facts.machine_id) for target, facts in known]
    yield from _shared(
        machine_ids,
        "machine id",
        "a machine id of its own",
        "rm /etc/machine-id; systemd-machine-id-setup; reboot",
    )
    yield from _shared(
        [(target, facts.hostname) for target, facts in known],
        "name",
        "a host name of its own",
        "see whether two entries lead to one machine; else: hostnamectl set-hostname <name>",
    )
    yield from _exchanged(known)
    for target, facts in known:
        if not facts.machine_id:
            yield _problem(
                target, "machine id", "none", "32 hex digits", "systemd-machine-id-setup"
            )


def _exchanged(known: Sequence[tuple[Target, Facts]]) -> Iterator[Problem]:
    """Find machines whose addresses somebody has exchanged in the file."""
    names = [facts.hostname for _, facts in known]
    for target, facts in known:
        others = {other.name for other, _ in known} - {target.name}
        if facts.hostname in others and names.count(facts.hostname) == 1:
            yield _problem(
                target,
                "name",
                f"{target.login.address} calls itself {facts.hostname}, which is another's name",
                f"{target.name}, or a name that no other machine has in the stack file",
                "correct `address:` of the two; else: hostnamectl set-hostname there",
            )


def _control_hosts(answers: Sequence[Answer], cluster: str) -> Iterator[Problem]:
    """Refuse other control hosts than the cluster has: its data lies on a majority of them.

    The order counts: ZooKeeper's servers are numbered by it.
    """
    asked = tuple(one.target.login.address for one in answers if one.target.control)
    names = {one.target.login.address: one.target.name for one in answers}
    said: set[tuple[str, ...]] = {asked, ()}
    for answer in answers:
        if answer.facts is None or answer.facts.cluster != cluster or answer.facts.control in said:
            continue
        said.add(answer.facts.control)
        yield _problem(
            answer.target,
            "control hosts",
            f"the cluster's are {_named(answer.facts.control, names)}",
            f"the same in the stack file, in this order; it has {_named(asked, names)}",
            "put them back as they were; a dead one is replaced under its name and address "
            "(docs/metal.md, When a control host dies)",
        )


def _named(addresses: Sequence[str], names: Mapping[str, str]) -> str:
    return ", ".join(
        f"{names[address]} ({address})" if address in names else address for address in addresses
    )


def _shared(
    values: Iterable[tuple[Target, str]], what: str, allowed: str, remedy: str
) -> Iterator[Problem]:
    first: dict[str, Target] = {}
    for target, value in values:
        if value and value in first:
            found = f"{value}, as {first[value].name} has"
            yield _problem(target, what, found, allowed, remedy)
        first.setdefault(value, target)


def _problem(target: Target, what: str, found: str, allowed: str, remedy: str) -> Problem:
    return Problem(host=target.name, what=what, found=found, allowed=allowed, remedy=remedy)


_CHECKS: tuple[Callable[[Target, Facts], Iterator[Problem]], ...] = (
    _sudo,
    _system,
    _size,
    _ports,
    _reach,
)
