#!/bin/sh
# The last step of a base filesystem: nothing starts by itself that was not asked for, and
# nothing is in it that must differ between hosts. Called by mmdebstrap: FILES ROOT.
set -eu

files=$1
root=$2

# Which services run is decided here and by recipes, not by the package that brought them.
install -D -m 0644 "$files/lab.preset" "$root/etc/systemd/system-preset/00-lab.preset"
systemctl --root="$root" preset-all --preset-mode=full

# A host gets its own identity when it is made.
rm -f "$root"/etc/ssh/ssh_host_* "$root/etc/machine-id" "$root/var/lib/dbus/machine-id"
rm -f "$root/etc/hostname" "$root/etc/resolv.conf" "$root/etc/apt/apt.conf.d/99mmdebstrap"
printf '# Hosts of the lab ask no name server.\n' >"$root/etc/resolv.conf"
mkdir -p "$root/var/log/journal" "$root/var/cache/kubernetes-mesos"

# Written while installing, useless afterwards.
rm -rf "$root/var/lib/apt/lists" "$root/var/cache/apt" "$root"/var/log/*.log "$root/var/log/apt"
mkdir -p "$root/var/lib/apt/lists/partial" "$root/var/cache/apt/archives/partial"
