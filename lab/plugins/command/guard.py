"""Ending a command on another host when nobody waits for it any more.

sshd lets a command run on when its connection is gone, and for root it refuses the protocol's
signal request as well. So each command runs beside a guard: a loop in the same session that ends
all its process groups (``timeout`` and job control make groups of their own) once the sshd session
it came from has gone. The session's number goes out first, on stderr, so that a cancelled command
can be ended at once, through another session.
"""

from __future__ import annotations

import re
import shlex

MARK = "pulumi-command-session"

# The process groups of session $1, from proc(5): after the name in brackets come state, parent,
# process group and session.
GROUPS = """
groups_of() {
  for stat in /proc/[0-9]*/stat; do
    { read -r line <"$stat"; } 2>/dev/null || continue
    set -- "$1" ${line##*) }
    [ "$5" != "$1" ] || echo "$4"
  done | sort -u
}
"""

# $PPID is the sshd session; a background shell inherits it. The guard ignores the TERM that it
# sends to its own group, and kills that one last. `kill -NAME -GROUP` is what all shells
# understand; the program `kill` wants `--` between. With SHLVL=1 bash would read
# the user's .bashrc a second time.
GUARD = f"""{GROUPS}
printf '{MARK} %s\\n' $$ >&2
guard=
if [ -d /proc/$PPID ]; then
  (
    exec </dev/null >/dev/null 2>&1
    while [ -d /proc/$PPID ]; do sleep 1; done
    trap '' TERM
    for name in TERM KILL; do
      for group in $(groups_of $$ | grep -vx $$) $$; do
        kill -$name -$group
        [ "$(id -u)" = 0 ] || sudo -n kill -s $name -- -$group
      done
      sleep 5
    done
  ) &
  guard=$!
fi
SHLVL=2 "${{SHELL:-/bin/sh}}" -c "$1"
status=$?
[ -z "$guard" ] || kill -KILL $guard
exit $status
"""

# Members that run as root under sudo cannot be signalled by the user: ask sudo as well.
END = f"""{GROUPS}
signal() {{
  sent=1
  for group in $(groups_of SESSION); do
    kill -"$1" -"$group" 2>/dev/null && sent=0
    [ "$(id -u)" = 0 ] || {{ sudo -n kill -s "$1" -- -"$group" 2>/dev/null && sent=0; }}
  done
  return $sent
}}
signal TERM
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
  signal 0 || exit 0
  sleep 0.2
done
signal KILL
"""


def guarded(command: str) -> str:
    """The command line that runs `command` by the user's shell, beside a guard."""
    return f"exec /bin/sh -c {shlex.quote(GUARD)} pulumi-command {shlex.quote(command)}"


def ending(session: int) -> str:
    """The command line that ends all of a session: first asks, then kills."""
    return f"exec /bin/sh -c {shlex.quote(END.replace('SESSION', str(session)))}"


def split_mark(data: bytes) -> tuple[int | None, bytes]:
    """The session's number and what follows; None when stderr did not begin with it."""
    found = re.match(rb"%s (\d+)\n" % MARK.encode(), data)
    return (int(found[1]), data[found.end() :]) if found else (None, data)
