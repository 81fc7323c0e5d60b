# shellcheck shell=bash
# What every recipe needs: write a file, install a program, keep a unit running, wait for it.
#
# A recipe compares first and changes only what differs, and says each change in one line on
# stdout; a run that changes nothing prints nothing. Its variables stand before this text.
set -euo pipefail

# shellcheck disable=SC2034 # what only some recipes use
ETC=/etc/kubernetes-mesos
# shellcheck disable=SC2034
DATA=/var/lib/kubernetes-mesos
HOME_DIR=/opt/kubernetes-mesos
BIN=$HOME_DIR/bin
STORE=/var/cache/kubernetes-mesos
export KUBECACHEDIR=$DATA/kubectl # not in the home of whom kubectl runs as
STARTED=$ETC/started # manifests of runs that have not ended: what a killed one has put here
MASTERS=$ETC/masters # on an agent: host:port of each Mesos master, one a line
BEFORE=$ETC/before # what the host had before us, to be given back

manifest=() # what the host has to have from now on; preflight compares it with what is there
changed=no  # yes, once something differs that the unit to come has to be restarted for

note() {
  changed=yes
  echo "$*"
}

# record KIND FIRST SECOND NAME: a line of the manifest.
#   file MODE:OWNER SHA256 PATH   link - TARGET PATH   program BYTES - PATH
#   unit ENABLED ACTIVE NAME   sysctl VALUE - KEY   package - - NAME
record() {
  manifest+=("$*")
  echo "$*" >>"$STARTED/$RECIPE"
}

fail() {
  echo "$(hostname): $*" >&2
  exit 1
}

# write_file PATH MODE OWNER TEXT: the file with exactly this text, mode and owner.
write_file() {
  local path=$1 mode=$2 owner=$3 text=$4 new mask sums=()
  # One program for both sums; each that is started counts, on a hundred files and small machines.
  if [[ -f $path && ! -L $path ]]; then
    mapfile -t sums < <(sha256sum - "$path" <<<"$text")
  else
    mapfile -t sums < <(sha256sum <<<"$text")
  fi
  record file "${mode#0}:$owner" "${sums[0]%% *}" "$path"
  if [[ ${#sums[@]} == 2 && ${sums[0]%% *} == "${sums[1]%% *}" ]] &&
    [[ $(stat -c %a:%U "$path") == "${mode#0}:$owner" ]]; then
    return
  fi
  [[ -d ${path%/*} ]] || mkdir -p "${path%/*}"
  # Beside it and then moved: a reader sees the old text or the new, also after a power cut.
  new=$path.$BASHPID.$RANDOM mask=$(umask)
  umask 077
  set -o noclobber # never through a link that somebody else has put there
  printf '%s\n' "$text" >"$new"
  set +o noclobber
  umask "$mask"
  give "$owner" "$new"
  chmod "$mode" "$new"
  mv -f "$new" "$path"
  note "wrote $path"
}

# give OWNER PATH: the file, and its group, to the owner, unless they have it.
give() {
  if [[ $1 == root && $EUID == 0 && -O $2 && -G $2 ]]; then return; fi
  chown "$1:" "$2"
}

# keep PATH: a file that is not ours as it is now, before we write our own; give_back returns it.
keep() {
  local kept=$BEFORE/files$1
  if [[ -e $kept || -e $kept.absent ]]; then return; fi
  mkdir -p "${kept%/*}"
  if [[ -e $1 ]] && ! grep -qs " $1$" "$ETC/manifest/$RECIPE"; then
    cp --archive "$1" "$kept.new"
    mv "$kept.new" "$kept"
  else
    touch "$kept.absent"
  fi
}

# give_back PATH: the file as it was before us.
give_back() {
  local kept=$BEFORE/files$1
  if [[ -e $kept ]]; then mv -f "$kept" "$1"; else rm -f "$1"; fi
  rm -f "$kept.absent"
}

# link TARGET PATH: a symbolic link at PATH.
link() {
  record link - "$1" "$2"
  if [[ -L $2 && $(readlink "$2") == "$1" ]]; then return; fi
  [[ -d ${2%/*} ]] || mkdir -p "${2%/*}"
  ln -sfn "$1" "$2"
  note "linked $2 to $1"
}

# ensure_directory PATH MODE OWNER
ensure_directory() {
  if [[ -d $1 && $(stat -c %a:%U "$1") == "${2#0}:$3" ]]; then return; fi
  mkdir -p "$1"
  give "$3" "$1"
  chmod "$2" "$1"
  note "made $1"
}

# ensure_user NAME: a system user that nobody logs in as.
ensure_user() {
  if getent passwd "$1" >/dev/null; then return; fi
  # Recipes run side by side; two of them may need the same user.
  exec 9>/run/kubernetes-mesos.lock
  flock 9
  if ! getent passwd "$1" >/dev/null; then
    useradd --system --comment kubernetes-mesos --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin "$1"
    note "made user $1"
  fi
  exec 9>&-
}

# install_program NAME VERSION FILE...: the files under $BIN, taken from the host's store.
install_program() {
  local name=$1 version=$2 file
  local home=$HOME_DIR/$name/$version
  shift 2
  if [[ -d $STORE/programs/$name/$version ]]; then
    link "$STORE/programs/$name/$version" "$home"
  fi
  for file in "$@"; do
    [[ -x $home/$file ]] ||
      fail "$name $version has no $file: not in $STORE/programs/$name/$version, nor in $home"
    link "../$name/$version/$file" "$BIN/$file"
    record program "$(stat -Lc %s "$BIN/$file")" - "$BIN/$file"
  done
}

# ensure_unit NAME TEXT: the service with this text, enabled, running, and restarted if anything
# has changed since the last unit.
ensure_unit() {
  write_file "/etc/systemd/system/$1.service" 0644 root "$2"
  run_unit "$1"
}

# run_unit NAME: the same for a service whose text came with a package.
run_unit() {
  local name=$1
  record unit enabled active "$name.service"
  if ! systemctl is-enabled --quiet "$name" 2>/dev/null; then
    if [[ $(systemctl is-enabled "$name" 2>/dev/null) == masked ]]; then
      fail "$name.service is masked: somebody wants it not to run. If it may: systemctl unmask $name"
    fi
    systemctl enable --quiet "$name" # reads all units again, too
    note "enabled $name"
  elif [[ $changed == yes ]]; then
    systemctl daemon-reload
  fi
  if ! systemctl is-active --quiet "$name"; then
    systemctl reset-failed "$name" 2>/dev/null || true
    systemctl start --no-block "$name"
    echo "started $name"
  elif [[ $changed == yes ]]; then
    systemctl restart --no-block "$name"
    echo "restarted $name"
  fi
  changed=no
}

# remove_unit NAME: the service stopped and forgotten.
remove_unit() {
  systemctl disable --now --quiet "$1" 2>/dev/null || true
  rm -f "/etc/systemd/system/$1.service"
  systemctl daemon-reload
}

# release_unit NAME: a package's service as it was before us; stopped and forgotten if it was not.
release_unit() {
  local enabled='' active=''
  if [[ -f $BEFORE/services ]]; then
    read -r enabled active _ < <(grep " $1$" "$BEFORE/services") || true
  fi
  systemctl disable --now --quiet "$1" 2>/dev/null || true
  if [[ $enabled == enabled ]]; then systemctl enable --quiet "$1"; fi
  if [[ $active == active ]]; then systemctl start "$1" || true; fi
}

# wait_until SECONDS UNIT COMMAND...: until the command succeeds; else the unit's last words.
wait_until() {
  local limit=$1 unit=$2
  shift 2
  if ! try_until "$limit" "$@"; then
    journalctl --unit "$unit" --lines 20 --no-pager --output cat >&2 || true
    fail "$unit is not ready after $limit s (waited for: $*)"
  fi
}

# after_api_server: the line of a unit that starts when the API server of its host is ready, and
# does not fail until then.
after_api_server() {
  local ask="curl --silent --fail --insecure --output /dev/null --max-time 2"
  echo "ExecStartPre=/bin/bash -c 'until $ask https://127.0.0.1:6443/readyz; do sleep 0.1; done'"
  echo "TimeoutStartSec=infinity"
}

# try_until SECONDS COMMAND...: whether the command succeeds in time.
try_until() {
  local end=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    if ((SECONDS >= end)); then return 1; fi
    sleep 0.1
  done
}

# port_open ADDRESS PORT
port_open() {
  (exec 3<>"/dev/tcp/$1/$2")
}

# agent_is_registered ADDRESS: whether the leading master knows the agent here, and its connection stands.
# The agent's own metric `registered` says only that it has found a master.
agent_is_registered() {
  local id master
  id=$(ask_mesos "$1:5051/state" 'print(said["id"])') || return 1
  while read -r master; do
    if ask_mesos "$master/slaves" 'sys.exit(not any(
  agent["id"] == sys.argv[1] and (agent["active"] or agent["deactivated"]) for agent in said["slaves"]))' "$id"; then
      return
    fi
  done <"$MASTERS"
  return 1
}

# ask_mesos ADDRESS:PORT/PATH PYTHON WORDS...: what Mesos answers, as `said` in a line of Python.
ask_mesos() {
  local answer
  answer=$(curl --silent --fail --location --max-time 2 "http://$1") || return 1
  python3 -c "import json, sys; said = json.load(sys.stdin); $2" "${@:3}" <<<"$answer"
}

# zookeeper_votes ADDRESS: whether the server there is in its quorum. One that is still starting takes the
# question and never answers it.
zookeeper_votes() {
  # shellcheck disable=SC2016 # for the shell that timeout starts
  timeout 2 bash -c 'exec 3<>"/dev/tcp/$1/2181" && echo srvr >&3 && grep -q "^Mode: " <&3' - "$1"
}

# master_votes ADDRESS: whether the Mesos master there has the whole registry, so that its vote counts. One
# that has lost its data gets it from the others, and does not vote before.
master_votes() {
  local figures
  figures=$(curl --silent --fail --max-time 2 "http://$1:5050/metrics/snapshot") || return 1
  grep -qE '"registrar\\?/log\\?/recovered":1(\.0)?[,}]' <<<"$figures"
}

# let_go NAME SIGNAL: the service ended by a signal that it understands, without systemd starting it again.
let_go() {
  local unit=/etc/systemd/system/$1.service
  if ! systemctl is-active --quiet "$1"; then return; fi
  sed --in-place 's/^Restart=.*/Restart=no/' "$unit"
  systemctl daemon-reload
  systemctl kill --signal="$2" --kill-whom=main "$1" || true
  try_until 30 not_active "$1" || echo "$1 did not end in time" >&2
}

not_active() {
  ! systemctl is-active --quiet "$1"
}

# remember WORDS: the manifest of this recipe, and the words of the repair it was run for, if any.
remember() {
  local file=$ETC/manifest/$RECIPE
  if [[ ${#manifest[@]} != 0 ]]; then
    ours_alone "${file%/*}"
    printf '%s\n' "${manifest[@]}" >"$file.new"
    sync "$file.new" # an empty one, after a power cut, would promise nothing
    mv -f "$file.new" "$file"
  fi
  rm -f "$STARTED/$RECIPE"
  if [[ $1 ]]; then printf '%s\n' "$1" >"$file.repaired"; fi
}

# ours_alone DIRECTORY: that only root looks into.
ours_alone() {
  if [[ -d $1 && $(stat -c %a "$1") == 700 ]]; then return; fi
  mkdir -p "$1"
  chmod 0700 "$1"
}

# main up|down [WORDS]: stdin is the script itself, so nothing that runs may read from it.
main() {
  case "${1:-}" in
    up)
      ours_alone "$STARTED"
      up </dev/null
      remember "${2:-}"
      ;;
    down)
      down </dev/null
      rm -f "$ETC/manifest/$RECIPE" "$ETC/manifest/$RECIPE.repaired" "$STARTED/$RECIPE"
      ;;
    *)
      echo "usage: recipe up|down" >&2
      exit 64
      ;;
  esac
}
