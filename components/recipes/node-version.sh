# shellcheck shell=bash
# Which version of nodes km starts, told when the agents' hosts have what such nodes are made of.
#
# Reads: KM_NODE_VERSION

NODE_VERSION_FILE=$ETC/kubernetes/node-version.env

healthy() {
  curl --silent --fail --max-time 2 http://127.0.0.1:10251/healthz
}

up() {
  changed=no
  write_file "$NODE_VERSION_FILE" 0644 root "KM_NODE_VERSION=$KM_NODE_VERSION"
  if [[ $changed == yes ]]; then
    systemctl restart km-scheduler
    wait_until 60 km-scheduler healthy
  fi
}

down() { :; }

main "$@"
