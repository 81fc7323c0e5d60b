#!/bin/sh
# What a host is and has, one fact a line, fields parted by tabs. Reads only; changes nothing.
#
# Plain sh, awk and coreutils: a bare machine may have neither python3 nor curl.
# Reads: PEERS, "address:port ..." to be reached from here; PORTS, "port ..." to be free or ours.
# Last line: "end", so that a cut-off answer is noticed.
set -u
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"

tab=$(printf '\t')
newline='
'

# Builtins where they do: a hundred facts on a small machine should not cost a hundred programs.
fact() {
  ifs=$IFS IFS=$tab
  printf '%s\n' "$*"
  IFS=$ifs
}

# The first line of a file; nothing where there is none.
line_of() {
  line=''
  if [ -r "$1" ]; then read -r line <"$1" || :; fi
}

machine() {
  now=$(date +%s.%N)
  case $now in *[!0-9.]*) now=${now%%.*} ;; esac # whose date knows no %N
  fact time "$now"
  said=$(id) user=${said#uid=} said=${said#*\(}
  fact user "${said%%\)*}" "${user%%\(*}"
  line_of /proc/sys/kernel/hostname && fact hostname "$line"
  line_of /etc/machine-id && fact machine_id "$line"
  line_of /proc/sys/kernel/osrelease && fact kernel "$line"
  fact arch "$(uname -m)"
  awk '/^cpu[0-9]/ {cpus++} /^MemTotal:/ {memory = int($2 / 1024)}
    END {print "cpus\t" cpus "\nmemory_mb\t" memory}' /proc/stat /proc/meminfo
  df -Pk /var/lib | {
    read -r _ && read -r _ _ _ free _
    fact disk_mb "$((free / 1024))"
  }
  if [ -e /sys/fs/cgroup/cgroup.controllers ]; then fact cgroup v2; else fact cgroup v1; fi
  if [ -d /run/systemd/system ]; then fact systemd yes; else fact systemd no; fi
  (
    ID='' VERSION_ID='' PRETTY_NAME=''
    # shellcheck source=/dev/null
    if [ -r /etc/os-release ]; then . /etc/os-release; else PRETTY_NAME=$(uname -s); fi
    fact os "$ID" "$VERSION_ID" "$PRETTY_NAME"
  )
}

# Who listens on one of PORTS: port, program, and the unit that the program's cgroup names; "-" for
# none. Without ss only the port is known. Whose a port is costs a look at every open file of every
# process, so that is asked only where one is taken.
ports() {
  [ "$PORTS" ] || return 0
  if command -v ss >/dev/null; then
    wanted=''
    for port in $PORTS; do wanted="$wanted${wanted:+ or }sport = :$port"; done
    [ "$(ss -Hltn "$wanted" 2>/dev/null)" ] || return 0
    ss -Hltnp "$wanted" 2>/dev/null | awk '{
      port = $4; sub(/.*:/, "", port)
      who = "-"; unit = "-"
      if (match($0, /\(\("[^"]*",pid=[0-9]+/)) {
        text = substr($0, RSTART + 3, RLENGTH - 3)
        who = text; sub(/".*/, "", who)
        sub(/.*pid=/, "", text)
        groups = "/proc/" text "/cgroup"
        while ((getline line <groups) > 0)
          if (match(line, /[^\/]*\.service/)) { unit = substr(line, RSTART, RLENGTH); break }
        close(groups)
      }
      fact = "port\t" port "\t" who "\t" unit
      if (!(fact in said)) { said[fact]; print fact }
    }'
  else
    awk '$4 == "0A" {sub(/.*:/, "", $2); print $2}' /proc/net/tcp /proc/net/tcp6 2>/dev/null |
      sort -u | while read -r hex; do
        case " $PORTS " in *" $((0x$hex)) "*) fact port "$((0x$hex))" - - ;; esac
      done
  fi
}

# What somebody put here before us. First field: the owner that judge.py knows by name.
installed() {
  if [ -r /etc/kubernetes-mesos/cluster ]; then
    line_of /etc/kubernetes-mesos/cluster && fact cluster "$line"
  elif [ -e /etc/kubernetes-mesos/cluster ]; then
    fact cluster '?'
  fi
  for path in /etc/kubernetes/admin.conf /etc/kubernetes/kubelet.conf \
    /var/lib/kubelet/kubeadm-flags.env; do
    if [ -e "$path" ]; then fact installed kubeadm "$path"; break; fi
  done
  for path in /etc/rancher/k3s /etc/k0s /var/lib/k0s /etc/rancher/rke2; do
    if [ -e "$path" ]; then fact installed kubernetes "$path"; fi
  done
  for path in /etc/mesos /etc/mesos-master /etc/mesos-agent /etc/mesos-slave /opt/mesosphere \
    /usr/sbin/mesos-master /usr/sbin/mesos-agent; do
    if [ -e "$path" ]; then fact installed mesos "$path"; break; fi
  done
}

# The control hosts that this one was told of, in their order: etcd's members, or ZooKeeper's servers.
control() {
  units=''
  for unit in /etc/systemd/system/etcd.service /etc/systemd/system/mesos-agent.service; do
    if [ -r "$unit" ]; then units="$units $unit"; fi
  done
  [ "$units" ] || return 0
  # shellcheck disable=SC2086 # a word each
  grep -ohE '[0-9.]+:(2380|2181)' $units | awk -F : '
    !said[$1]++ {all = all sep $1; sep = " "} END {if (all) print "control\t" all}'
}

# One line for each part of what a recipe's manifest promises and the host does not have.
# A manifest's line: kind, two values, name; its meanings are in components/recipes/common.sh.
drift() {
  manifests=''
  for manifest in /etc/kubernetes-mesos/manifest/*; do
    [ -f "$manifest" ] || continue
    recipe=${manifest##*/}
    case $recipe in
      *.repaired) line_of "$manifest" && fact repaired "${recipe%.repaired}" "$line" ;;
      *) fact recipe "$recipe" && manifests="$manifests $manifest" ;;
    esac
  done
  # shellcheck disable=SC2086 # a word each
  set -- $manifests
  if [ $# = 0 ] || all_as_promised "$@"; then return; fi
  for manifest; do
    recipe=${manifest##*/}
    packages=''
    while read -r kind first second name; do
      case $kind in
        file | program | link) differs_path "$kind" "$first" "$second" "$name" ;;
        unit) differs_unit "$first" "$second" "$name" ;;
        sysctl)
          now=$(sysctl -n "$name" 2>/dev/null | tr -s '\t' ' ')
          [ "$now" = "$first" ] || differs "sysctl $name is '$now', not '$first'"
          ;;
        mount) grep -q " $name $first " /proc/mounts || differs "$name is not mounted" ;;
        package) packages="$packages $name" ;;
      esac
    done <"$manifest"
    if [ "$packages" ]; then differs_packages "$packages"; fi
  done
}

# Whether nothing at all differs, which is the rule: each kind is asked for with one program, where
# to find out what differs takes two or three for each line.
all_as_promised() {
  sums='' files='' modes='' programs='' sizes='' links='' targets=''
  units='' enabled='' active='' settings='' values='' packages='' mounts=$(cat /proc/mounts)
  for manifest; do
    while read -r kind first second name; do
      case $kind in
        file)
          case $first in *:*) ;; *) return 1 ;; esac
          sums="$sums$second  $name$newline" files="$files$name$newline"
          modes="$modes$first $name$newline"
          ;;
        program) programs="$programs$name$newline" sizes="$sizes$first $name$newline" ;;
        link) links="$links$name$newline" targets="$targets$second$newline" ;;
        unit)
          case $first/$second in -/* | */-) return 1 ;; esac
          units="$units$name$newline"
          enabled="$enabled$first$newline" active="$active$second$newline"
          ;;
        sysctl) settings="$settings$name$newline" values="$values$first$newline" ;;
        mount) case $mounts in *" $name $first "*) ;; *) return 1 ;; esac ;;
        package) packages="$packages $name" ;;
      esac
    done <"$manifest"
  done
  said "$modes" "$files" stat -Lc '%a:%U %n' &&
    said "$sizes" "$programs" stat -Lc '%s %n' &&
    said "$targets" "$links" readlink &&
    said "$enabled" "$units" systemctl is-enabled &&
    said "$active" "$units" systemctl is-active &&
    said "$values" "$settings" sysctl -n &&
    { [ -z "$sums" ] || printf '%s' "$sums" | sha256sum --check --status 2>/dev/null; } &&
    { [ -z "$packages" ] || [ -z "$(differs_packages "$packages")" ]; }
}

# said ANSWER NAMES COMMAND...: whether the command says exactly this of the names, a line each.
said() {
  expected=$1 names=$2
  shift 2
  if [ -z "$names" ]; then return 0; fi
  ifs=$IFS IFS=$newline
  set -f
  # shellcheck disable=SC2086 # a word each
  now=$("$@" $names 2>/dev/null)
  set +f
  IFS=$ifs
  now=$now$newline
  if [ "$1" = sysctl ]; then now=$(printf '%s.' "$now" | tr -s '\t' ' ') now=${now%.}; fi
  [ "$now" = "$expected" ]
}

differs() { fact drift "$recipe" "$1"; }

differs_path() {
  if [ ! -e "$4" ]; then
    # A program is a link as well; its absence is said once.
    [ "$1" = program ] || [ -L "$4" ] || differs "$4 is missing"
    if [ "$1" != link ] || [ ! -L "$4" ]; then return; fi
  fi
  case $1 in
    link)
      now=$(readlink "$4")
      [ "$now" = "$3" ] || differs "$4 leads to '$now', not '$3'"
      ;;
    program)
      now=$(stat -Lc %s "$4")
      [ "$now" = "$2" ] || differs "$4 has $now bytes, not $2"
      ;;
    file)
      # One stat for both. A manifest of before has no owner.
      now=$(stat -Lc %a:%U "$4")
      [ "${now%%:*}" = "${2%%:*}" ] || differs "$4 has mode ${now%%:*}, not ${2%%:*}"
      case $2 in *:"${now#*:}") ;; *:*) differs "$4 belongs to ${now#*:}, not ${2#*:}" ;; esac
      now=$(sha256sum <"$4")
      [ "${now%% *}" = "$3" ] || differs "$4 has another content"
      ;;
  esac
}

# All at once: dpkg reads all that it knows each time.
differs_packages() {
  # shellcheck disable=SC2086,SC2016 # a word each; dpkg fills in
  now=$newline$(dpkg-query --show --showformat='${db:Status-Status} ${Package}\n' $1 2>/dev/null)$newline
  for name in $1; do
    case $now in *"${newline}installed $name$newline"*) ;; *) differs "package $name is missing" ;; esac
  done
}

differs_unit() {
  now=$(systemctl is-enabled "$3" 2>/dev/null)
  [ "$1" = - ] || [ "$now" = "$1" ] || differs "$3 is ${now:-unknown}, not $1"
  now=$(systemctl is-active "$3" 2>/dev/null)
  [ "$2" = - ] || [ "$now" = "$2" ] || differs "$3 is ${now:-unknown}, not $2"
}

# A refused connection proves the way is open: nothing listens before the first `up`.
peers() {
  [ "$PEERS" ] || return 0
  command -v bash >/dev/null && command -v timeout >/dev/null || return
  # One bash for all ways: a hundred of them are a hundred forks, not three hundred programs.
  # shellcheck disable=SC2016,SC2086 # bash, not this shell, fills in its variables; a word each
  timeout 4 bash -c 'for peer; do
    (
      said=$(: 2>&1 <"/dev/tcp/${peer%:*}/${peer##*:}") && said=open
      case $said in *"onnection refused"*) said=open ;; esac
      echo "$peer ${said##*: }"
    ) &
  done; wait' - $PEERS 2>/dev/null | awk -v peers="$PEERS" '
    {peer = $1; sub(/^[^ ]* /, ""); said[peer] = $0}
    END {
      count = split(peers, names, " ")
      for (number = 1; number <= count; number++) {
        peer = names[number]
        why = peer in said ? said[peer] : "no answer in 4 s"
        if (why != "open") print "unreachable\t" peer "\t" why
      }
    }'
}

fact sudo "${SUDO:-root}"
machine
ports
installed
control
drift
peers
fact end
