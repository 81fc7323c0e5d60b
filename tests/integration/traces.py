"""What a machine has, as lines that can be compared: files, units, processes, mounts, rules.

What packages bring is left out, their user too: they stay on a machine that leaves. So are logs,
caches, manuals (which lab hosts are told to leave out) and whatever a running system writes.
"""

from __future__ import annotations

from collections.abc import Callable

SCRIPT = r"""
set -uo pipefail
shopt -s nullglob
owned=$(mktemp)
sed 's,^/\(bin\|sbin\|lib\),/usr/\1,' /var/lib/dpkg/info/*.list | sort -u >"$owned"
find /etc /opt /root /home /srv /usr /var /run/kubernetes* /run/mesos /run/km /run/flannel \
  /run/containerd /run/netns ! -lname '/etc/alternatives/*' -printf '%y %m %U %p\n' 2>/dev/null |
  grep -vE "$EXCUSED" |
  awk -v owned="$owned" 'BEGIN {while ((getline line <owned) > 0) known[line]}
    {path = $0; sub(/^[^ ]+ [^ ]+ [^ ]+ /, "", path)} !(path in known) {print "file " $1 " " path}'
rm -f "$owned"
find /etc -type f ! -name '*-' -printf ' %p\n' | grep -vE "$EXCUSED|$REWRITTEN" | cut -c 2- |
  xargs -d '\n' sha256sum | sed 's/^/content /'
dpkg --verify containerd haproxy 2>/dev/null | grep -vE '/usr/share/(doc|man)(/|$)' |
  sed 's/^/altered /'
systemctl list-unit-files --no-legend --no-pager --state=enabled | awk '{print "enabled " $1}'
systemctl list-units --no-legend --no-pager --plain --type=service --state=active,failed |
  awk '{print $3 " " $1}' | grep -vE "$TRANSIENT"
ps -eo pid,ppid,args --no-headers |
  awk '$1 != 2 && $2 != 2 {$1 = $2 = ""; sub(/^ */, ""); print "process " $0}' |
  grep -vE 'ps -eo|bash -s|awk |sshd: |grep |systemd --user|\(sd-pam\)'
awk '{print "mount " $2 " " $3}' /proc/mounts | grep -vE ' /run/user/'
ip -oneline link show | awk '{sub(/@.*/, "", $2); print "link " $2}'
{ iptables-save; ip6tables-save; } 2>/dev/null | grep -E '^-A' | sed 's/^/rule /'
find /sys/fs/cgroup -maxdepth 2 -name 'mesos*' -printf 'cgroup %p\n'
sysctl net.ipv4.ip_forward
hostname | sed 's/^/hostname /'
getent passwd | grep -v '^haproxy:' | sed 's/^/user /'
true
"""

EXCUSED = (
    r" /var/(log|tmp|cache/(apt|debconf|ldconfig|man)|backups)(/|$)",
    r" /var/lib/(dpkg|apt|systemd|ucf|ca-certificates-java|private|dbus|sudo|pam)(/|$)",
    r" /etc/(alternatives|ssl/certs|rc[0-6S]\.d|ld\.so\.cache|\.pwd\.lock|\.updated|mailcap)",
    r" /etc/(\.java|fonts/conf\.d)(/|$)| /run/haproxy$| /usr/local/share/fonts$| /var/\.updated$",
    r" /var/cache/kubernetes-mesos$",  # where the lab's other hosts have their store
    r"/__pycache__(/|$)",
    r"/\.(ssh|ansible|bash_history|cache)(/|$)",
    r" /usr/(lib|share)/.*\.(cache|pyc)$",
)
"""Written by the system or by packages' own scripts."""

REWRITTEN = r"/etc/(passwd|group|shadow|gshadow|subuid|subgid|machine-id)"
"""Changes with each user that a package makes; users are compared themselves."""

TRANSIENT = r"user@|user-runtime-dir@|run-u|session-|systemd-(tmpfiles|update|hostnamed|timedated)"


def traces(run: Callable[[str], str]) -> set[str]:
    """Describe a machine; `run` runs a script on it as root and returns what it printed."""
    values = f"EXCUSED='{'|'.join(EXCUSED)}'\nREWRITTEN='{REWRITTEN}'\nTRANSIENT='{TRANSIENT}'\n"
    return set(run(values + SCRIPT).splitlines())


def difference(before: set[str], now: set[str]) -> list[str]:
    """What is there now and was not, and what was there and is not any more."""
    # A new file has a line of its own: contents are compared of those that were there before.
    known = {line.split()[-1] for line in before if line.startswith("content ")}
    new = {line for line in now if line.startswith("content ") and line.split()[-1] not in known}
    return [
        *(f"+ {line}" for line in sorted(now - before - new)),
        *(f"- {line}" for line in sorted(before - now)),
    ]
