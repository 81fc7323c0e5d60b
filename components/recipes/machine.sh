# shellcheck shell=bash
# A machine of somebody's: the distribution's packages that the cluster works with, and the mark
# that says whose it is. Its `down` takes away everything that our recipes have put there.
#
# Reads: MACHINE_CLUSTER MACHINE_NAME MACHINE_PACKAGES
#        and, where Mesos comes from a repository: MACHINE_REPOSITORY (URL, suite, component)
#        MACHINE_REPOSITORY_KEY MACHINE_MESOS_PACKAGES (name=version name ...) MACHINE_MESOS_VERSION
#        MACHINE_MESOS_PROGRAMS (paths, one a line) MACHINE_MESOS_LAUNCHERS (a directory)

# shellcheck source=/dev/null
CODENAME=$(. /etc/os-release && echo "$VERSION_CODENAME")
PACKAGES=$STORE/packages/$CODENAME # for hosts without a mirror
REPOSITORY=${MACHINE_REPOSITORY:-}
REPOSITORY_LIST=/etc/apt/sources.list.d/kubernetes-mesos.list
REPOSITORY_KEY=/etc/apt/keyrings/kubernetes-mesos.asc
DIVERT=/usr/sbin/policy-rc.d
LISTS_SECONDS=120 # for what else reads the mirror's lists
OURS='# kubernetes-mesos: nothing starts before it is configured'
SHARED=(containerd haproxy) # services of packages, which others may have used before us

# Debian 13 has some under a new name, which provides the old one: libcurl4t64 is libcurl4.
present_packages() {
  dpkg-query --show --showformat='${db:Status-Status}, ${Package}, ${Provides}\n' |
    awk -F ', *' '$1 == "installed" {for (i = 2; i <= NF; i++) {sub(/ .*/, "", $i); print $i}}'
}

installed_version() {
  dpkg-query --show --showformat='${db:Status-Status} ${Version}' "$1" 2>/dev/null |
    sed -n 's/^installed //p'
}

missing_packages() {
  local package present
  present=$(present_packages)
  for package in $MACHINE_PACKAGES ${MACHINE_MESOS_PACKAGES:-}; do
    if [[ $package == *=* ]]; then
      [[ $(installed_version "${package%%=*}") == "${package#*=}" ]] || echo "$package"
    else
      grep -qxF "$package" <<<"$present" || echo "$package"
    fi
  done
}

# use_repository: Mesos' packages are found, and believed by their key, or no more.
use_repository() {
  if [[ -z $REPOSITORY ]]; then
    rm -f "$REPOSITORY_LIST" "$REPOSITORY_KEY"
    return
  fi
  write_file "$REPOSITORY_KEY" 0644 root "$MACHINE_REPOSITORY_KEY"
  write_file "$REPOSITORY_LIST" 0644 root \
    "deb [signed-by=$REPOSITORY_KEY] ${REPOSITORY//'{codename}'/$CODENAME}"
}

# link_packaged: what the packages brought, where other recipes look for programs.
link_packaged() {
  local program home
  if [[ -z $REPOSITORY ]]; then return; fi
  home=$HOME_DIR/mesos/$MACHINE_MESOS_VERSION
  while read -r program; do
    [[ -x $program ]] || fail "${MACHINE_MESOS_PACKAGES%% *} has brought no $program"
    link "$program" "$home/${program##*/}"
    record program "$(stat -Lc %s "$program")" - "$program" # another version is drift of this recipe
  done <<<"$MACHINE_MESOS_PROGRAMS"
  link "$MACHINE_MESOS_LAUNCHERS" "$home/launchers"
}

# record_packages: those that the machine needs, each under the name that it has on this release.
record_packages() {
  local package
  while read -r package; do record package - - "$package"; done < <(
    dpkg-query --show --showformat='${db:Status-Status}, ${Package}, ${Provides}\n' |
      awk -F ', *' -v wanted="$MACHINE_PACKAGES" '
        BEGIN {split(wanted, names, " "); for (i in names) needed[names[i]]}
        $1 == "installed" {
          for (i = 2; i <= NF; i++) {sub(/ .*/, "", $i); if ($i in needed) {print $2; next}}
        }'
  )
}

# From the store when it has packages: then nothing else is asked. Where Mesos comes from a repository,
# there is no bundle, though one from before may still be in the store.
sources() {
  if [[ ! -f $PACKAGES/Packages || $REPOSITORY ]]; then return; fi
  mkdir -p "$DATA/apt/lists" # apart from the file: apt removes from its lists what it does not know
  echo "deb [trusted=yes] file:$PACKAGES ./" >"$DATA/apt/sources.list"
  echo "-o Dir::Etc::sourcelist=$DATA/apt/sources.list -o Dir::Etc::sourceparts=/dev/null"
  echo "-o Dir::State::lists=$DATA/apt/lists"
}

# finish_packages: what an interrupted run, ours or somebody's, has left half done.
finish_packages() {
  if [[ -z $(dpkg --audit) && -z $(ls /var/lib/dpkg/updates) ]]; then return; fi
  DEBIAN_FRONTEND=noninteractive dpkg --configure -a --force-confdef --force-confold \
    2>&1 9>&- || true # apt says what stays so
}

# update_lists OPTIONS...: a machine updates its lists by itself when it starts, and apt waits for its
# own lock on packages only, not for the one on lists.
update_lists() {
  local said end=$((SECONDS + LISTS_SECONDS)) told=no
  until said=$(apt-get "$@" -o DPkg::Lock::Timeout=120 --quiet --quiet update 2>&1); do
    if [[ $said != *"Could not get lock"* ]] || ((SECONDS >= end)); then fail "apt-get update: $said"; fi
    if [[ $told == no ]]; then echo "waits up to $LISTS_SECONDS s for another apt: ${said%%$'\n'*}"; fi
    told=yes
    sleep 2
  done
}

# Packages that bring services of their own would start them before they are configured.
install_packages() {
  local wanted options
  wanted=$(missing_packages)
  if [[ -z $wanted ]]; then return; fi
  read -ra options <<<"$(sources | tr '\n' ' ')"
  if [[ ! -s $DIVERT ]] || grep -qF "$OURS" "$DIVERT"; then
    printf '#!/bin/sh\n%s\nexit 101\n' "$OURS" >"$DIVERT"
    chmod 0755 "$DIVERT"
  fi
  trap remove_divert EXIT
  export DEBIAN_FRONTEND=noninteractive
  finish_packages
  update_lists "${options[@]}"
  # shellcheck disable=SC2086 # one word each
  apt-get "${options[@]}" -o DPkg::Lock::Timeout=120 --quiet --quiet --yes \
    --fix-broken --no-install-recommends --allow-downgrades -o Dpkg::Use-Pty=0 \
    install $wanted >/dev/null 9>&-
  note "installed ${wanted//$'\n'/ }"
}

# keep_services: how the services that we take over are before us. Packages bring them, too: asked
# before those are installed, and never again.
keep_services() {
  local service
  if [[ -e $BEFORE/services || -e $ETC/manifest ]]; then return; fi
  mkdir -p "$BEFORE"
  for service in "${SHARED[@]}"; do
    if systemctl cat "$service" >/dev/null 2>&1; then
      echo "$(systemctl is-enabled "$service") $(systemctl is-active "$service") $service"
    fi
  done >"$BEFORE/services.new"
  mv "$BEFORE/services.new" "$BEFORE/services"
}

# Ours alone, also the one of a run that was killed: another's says that on purpose.
remove_divert() {
  if grep -qsxF "$OURS" "$DIVERT"; then rm -f "$DIVERT"; fi
}

up() {
  write_file "$ETC/cluster" 0644 root "$MACHINE_CLUSTER"
  keep_services
  if [[ $(hostname) != "$MACHINE_NAME" ]]; then
    keep /etc/hostname
    echo "$MACHINE_NAME" >/etc/hostname
    hostname "$MACHINE_NAME"
    note "named $MACHINE_NAME"
  fi
  grep -qE "\s$MACHINE_NAME(\s|$)" /etc/hosts ||
    echo "127.0.1.1 $MACHINE_NAME # kubernetes-mesos" >>/etc/hosts
  use_repository
  install_packages
  link_packaged
  record_packages
  remove_divert
}

# Units first, then whatever the agent's executors left running, then the files. Each step is said:
# who says nothing for half a minute is taken for a machine that hangs.
down() {
  local units name node=no
  echo "leaves: packages, then services"
  finish_packages
  remove_divert
  if [[ -e $ETC/minion.json ]]; then node=yes; fi
  mapfile -t units < <(promised unit)
  # All at once, and not for long: they wait for each other, and nothing of theirs will be kept.
  timeout 5 systemctl stop "${units[@]}" 2>/dev/null ||
    systemctl kill --signal=KILL "${units[@]}" 2>/dev/null || true
  systemctl disable --quiet "${units[@]}" 2>/dev/null || true
  echo "leaves: what services have left running"
  end_leftovers
  echo "leaves: networks"
  undo_network
  echo "leaves: files, and gives back what was there before"
  while read -r name; do rm -f "$name"; done < <(promised file; promised link)
  systemctl daemon-reload
  systemctl reset-failed "${units[@]}" 2>/dev/null || true
  return_what_was
  rm -rf /run/mesos /run/flannel /run/km /etc/cni/net.d/*kubernetes-mesos*
  if [[ $node == yes ]]; then
    echo "leaves: pods and images"
    forget_pods
  fi
  remove_users
  rm -rf "$ETC" "$HOME_DIR" /run/kubernetes-mesos*.lock
  empty "$DATA"
  empty "$STORE"
}

# return_what_was: files and settings that we replaced, then the services that read them.
return_what_was() {
  local file service
  if [[ ! -d $BEFORE ]]; then return; fi
  while read -r file; do give_back "${file#"$BEFORE/files"}"; done < \
    <(find "$BEFORE/files" -type f ! -name '*.absent' ! -name '*.new' 2>/dev/null)
  if [[ -e $BEFORE/sysctl ]]; then sysctl --quiet --load="$BEFORE/sysctl" || true; fi
  if [[ $(hostname) == "$MACHINE_NAME" ]]; then hostname "$(</etc/hostname)"; fi
  for service in "${SHARED[@]}"; do release_unit "$service"; done
}

# forget_pods: what the kubelet and containerd keep of them. All that containerd keeps came with us,
# unless it was here before us: then only what is in Kubernetes' namespace did.
forget_pods() {
  local kind name
  if [[ ! -f $BEFORE/services ]]; then return; fi
  empty /var/lib/kubelet
  rm -rf /var/log/pods /var/log/containers /var/lib/cni/results/cni-loopback-*
  rmdir --parents --ignore-fail-on-non-empty /usr/libexec/kubernetes/kubelet-plugins/volume/exec \
    /var/lib/cni/results /etc/cni/net.d /run/netns 2>/dev/null || true
  if ! grep -q ' containerd$' "$BEFORE/services"; then
    empty /var/lib/containerd
    rm -rf /run/containerd
    rmdir /opt/containerd/{bin,lib,} 2>/dev/null || true
    return
  fi
  for kind in containers images; do
    while read -r name; do ctr --namespace k8s.io "$kind" rm "$name"; done < \
      <(ctr --namespace k8s.io "$kind" ls --quiet)
  done >/dev/null 2>&1 || true
  ctr namespaces rm k8s.io >/dev/null 2>&1 || true
}

# remove_users: those that recipes have made, and the name that they were told of.
remove_users() {
  local user
  while read -r user; do userdel "$user" 2>/dev/null || true; done < \
    <(awk -F : '$5 == "kubernetes-mesos" {print $1}' /etc/passwd)
  sed --in-place '/# kubernetes-mesos$/d' /etc/hosts
}

# promised KIND: the names of that kind in all manifests, also of recipes that were cut short.
promised() {
  local manifest kind name
  for manifest in "$ETC"/manifest/* "$STARTED"/*; do
    if [[ ! -f $manifest ]]; then continue; fi
    while read -r kind _ _ name; do
      if [[ $kind == "$1" ]]; then echo "$name"; fi
    done <"$manifest"
  done
}

# empty PATH: nothing in it, and not there any more, unless it is a disk of its own.
empty() {
  if [[ -w $1 ]]; then
    { find "$1" -xdev -mindepth 1 -delete -print 2>/dev/null || true; } |
      awk -v place="$1" 'NR % 10000 == 0 {print "leaves: " NR " files of " place; fflush()}'
  fi
  if ! mountpoint -q "$1"; then rm -rf "$1"; fi
}

# Executors and containers outlive their services by design; a leaving machine keeps none of ours.
end_leftovers() {
  local signal process mount containers
  mapfile -t containers < <(container_cgroups)
  for signal in TERM KILL; do
    { our_programs; processes_in "${containers[@]}"; } | sort -u |
      while read -r process; do kill "-$signal" "$process" 2>/dev/null || true; done
    if [[ $signal == TERM ]]; then sleep 1; fi
  done
  awk -v ours="^($DATA|/var/lib/kubelet|/run/containerd/io[.]containerd[.][^/]*/k8s[.]io\
|/run/containerd/io[.]containerd[.]grpc[.]v1[.]cri)/" '$2 ~ ours {print $2}' /proc/mounts |
    sort -r | while read -r mount; do umount -l "$(printf '%b' "$mount")" || true; done
  sleep 0.2 # the kernel lets go of a cgroup a moment after its last process
  find "${containers[@]}" -depth -type d -exec rmdir {} + 2>/dev/null || true
  rmdir /sys/fs/cgroup/{,*/}mesos 2>/dev/null || true # stays where others have theirs
}

# container_cgroups: those of our agent's containers, and of its unit, where executors begin.
# Mesos names a cgroup after the container; where it makes none, km minion does, after the executor.
container_cgroups() {
  local path
  printf '%s\n' /sys/fs/cgroup/{,*/}system.slice/mesos-agent.service
  for path in "$DATA"/mesos/agent/slaves/*/frameworks/*/executors/{*,*/runs/*} \
    /run/mesos/containers/*; do
    if [[ -d $path && ! -L $path ]]; then printf '%s\n' /sys/fs/cgroup/{,*/}mesos/"${path##*/}"; fi
  done
}

# processes_in CGROUP...: in them and below.
processes_in() {
  find "$@" -name cgroup.procs -exec cat {} + 2>/dev/null || true
}

# our_programs: processes of what we installed, and those that containerd has for each pod. Hosts in
# containers on this machine have programs of the same names, in PID namespaces of their own.
our_programs() {
  local here process launchers packaged=()
  local shim='.*-namespace k8s[.]io .*-address /run/containerd/containerd[.]sock'
  here=$(readlink /proc/self/ns/pid)
  for launchers in "$HOME_DIR"/mesos/*/launchers; do
    if [[ -L $launchers ]]; then packaged+=(-o -lname "$(readlink "$launchers")/*"); fi
  done
  {
    find /proc/[0-9]*/exe -prune \
      \( -lname "$HOME_DIR/*" -o -lname "$STORE/*" "${packaged[@]}" \) 2>/dev/null |
      cut -d / -f 3 || true
    pgrep -f "^([^ ]*/)?python3[^ ]* $BIN/km " || true # a zipapp: the program is Python
    pgrep -f "^([^ ]*/)?containerd-shim[^ ]* $shim" || true
  } | while read -r process; do
    if [[ $(readlink "/proc/$process/ns/pid") == "$here" ]]; then echo "$process"; fi
  done
}

# kube-proxy takes its own rules away, the kubelet does not; flannel's device and what hangs on our
# bridge are ours to remove, and nothing else is.
undo_network() {
  local device space
  if [[ -x $BIN/kube-proxy ]]; then "$BIN/kube-proxy" --cleanup >/dev/null 2>&1 || true; fi
  remove_rules iptables
  remove_rules ip6tables
  while read -r space; do
    umount -l "/run/netns/$space" 2>/dev/null || true
    rm -f "/run/netns/$space"
  done < <(pod_networks)
  pod_links | while read -r device _; do ip link delete "$device" 2>/dev/null || true; done
  for device in cni0 flannel.1; do ip link delete "$device" 2>/dev/null || true; done
  rm -rf /var/lib/cni/networks/kubernetes-mesos /var/lib/cni/results/kubernetes-mesos-*
  rmdir /var/lib/cni/networks /var/lib/cni/results /var/lib/cni 2>/dev/null || true
}

# remove_rules iptables|ip6tables: what a node made; km knows which those are. Without km, no node.
remove_rules() {
  if [[ ! -f $BIN/km ]] || ! command -v "$1-save" >/dev/null; then return; fi
  "$1-save" | PYTHONPATH=$BIN/km python3 -c 'import sys
from km.minion.network import removal_rules
print(removal_rules(sys.stdin.read()), end="")' | "$1-restore" --noflush --wait 5 || true
}

# pod_links: the links on our bridge; of each, the network namespace that its other end is in.
pod_links() {
  { ip -oneline link show type veth master cni0 2>/dev/null || true; } | awk '{
    space = ""
    for (i = 3; i < NF; i++) if ($i == "link-netns") space = $(i + 1)
    sub(/[@:].*/, "", $2)
    print $2, space
  }'
}

# pod_networks: network namespaces of pods, by their links and by what CNI remembers.
pod_networks() {
  {
    pod_links | awk 'NF == 2 {print $2}'
    grep -oh 'netns/cni-[0-9a-f-]*' /var/lib/cni/results/kubernetes-mesos-* 2>/dev/null |
      cut -d / -f 2 || true
  } | sort -u
}

# One at a time: a run whose operator was killed goes on by itself until its packages are there.
exec 9>/run/kubernetes-mesos-machine.lock
for _ in {1..6}; do
  if flock --timeout 10 9; then break; fi
  echo "another run on this machine has not ended yet"
done
main "$@"
