# shellcheck shell=bash
# How a framework leaves Mesos for good; nothing happens until it does.
#
# Reads: FRAMEWORK_API (a Python program, see operator_api.py) FRAMEWORK_MASTERS
#        (host:port,host:port) FRAMEWORK_MESOS_NAME

up() { :; }

down() {
  local status=0
  python3 -c "$FRAMEWORK_API" "$FRAMEWORK_MASTERS" teardown "$FRAMEWORK_MESOS_NAME" || status=$?
  if [[ $status == 75 ]]; then # no master: there is nothing to be torn down from
    echo "$FRAMEWORK_MESOS_NAME is not torn down" >&2
  elif [[ $status != 0 ]]; then
    exit "$status"
  fi
}

main "$@"
