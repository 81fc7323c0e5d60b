# shellcheck shell=bash
# A machine that was stopped and started: done when all that our recipes had running on it runs, and
# takes part, again. A machine that has nothing of ours yet is done at once.
#
# Reads: RETURNED_ADDRESS (what the other machines reach it at)

LIMIT=300

promised_units() {
  cat "$ETC"/manifest/* 2>/dev/null | awk '$1 == "unit" && $3 == "active" {print $4}' | sort -u
}

# runs UNIT: its service runs, and where others count on it, it answers them.
runs() {
  systemctl is-active --quiet "$1" || return 1
  case $1 in
    zookeeper.service) zookeeper_votes 127.0.0.1 ;;
    etcd.service) answers http://127.0.0.1:2381/health ;; # only with a majority
    kube-apiserver.service) answers --insecure https://127.0.0.1:6443/readyz ;;
    mesos-master.service) master_votes "$RETURNED_ADDRESS" ;;
    mesos-agent.service) agent_is_registered "$RETURNED_ADDRESS" ;;
  esac
}

answers() {
  curl --silent --fail --max-time 2 "$@"
}

up() {
  local unit units
  mapfile -t units < <(promised_units)
  for unit in "${units[@]}"; do wait_until "$LIMIT" "${unit%.service}" runs "$unit"; done
}

down() { :; }

main "$@"
