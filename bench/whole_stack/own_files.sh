#!/bin/sh
# own_files.sh DIRECTORY NAME COMMAND...: a server with files and a name of its own, as a machine has.
#
# Its /etc begins as this machine's; /opt and /run begin empty, but for what says that systemd runs.
set -eu
directory=$1 name=$2
shift 2
mkdir "$directory"
mount -t tmpfs tmpfs "$directory"
mkdir "$directory/etc" "$directory/work"
mount -t overlay overlay -o "lowerdir=/etc,upperdir=$directory/etc,workdir=$directory/work" /etc
mount -t tmpfs tmpfs /opt
mount -t tmpfs tmpfs /run
mkdir -p /run/sshd /run/systemd/system
printf '%s' "$name" | md5sum | cut -c 1-32 >/etc/machine-id
hostname "$name"
exec "$@"
