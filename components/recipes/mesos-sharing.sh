# shellcheck shell=bash
# Weights and quota of Mesos' roles, set through the leading master.
#
# Reads: SHARING_API (a Python program, see operator_api.py) SHARING_MASTERS (host:port,host:port)
#        SHARING_ROLES (JSON: role → weight, guarantees and limits)

OURS=$DATA/mesos/sharing.json # the roles that are set from here; others are left alone

api() {
  python3 -c "$SHARING_API" "$SHARING_MASTERS" "$@"
}

up() {
  api share "$OURS" <<<"$SHARING_ROLES"
}

down() {
  local status=0
  if [[ ! -e $OURS ]]; then return; fi
  api unshare "$OURS" || status=$?
  if [[ $status == 75 ]]; then # no master: with its registry, the roles go as well
    echo "roles keep their weights and quota" >&2
  elif [[ $status != 0 ]]; then
    exit "$status"
  fi
}

main "$@"
