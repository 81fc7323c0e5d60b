#!/bin/sh
# Become a program inside control groups: enter.sh GROUP... -- PROGRAM ARGUMENT...
# The groups are joined first, so that not one process of the program is ever outside them.
set -eu

while [ "$1" != -- ]; do
  echo $$ >"$1/cgroup.procs"
  shift
done
shift
exec "$@"
