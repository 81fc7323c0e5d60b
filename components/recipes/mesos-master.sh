# shellcheck shell=bash
# A Mesos master, one of those that ZooKeeper chooses the leading one from.
#
# Reads: MESOS_VERSION MESOS_ZOOKEEPER MESOS_QUORUM MESOS_ADDRESS MESOS_CLUSTER
#        MESOS_ALLOCATION_INTERVAL MESOS_DOMAIN (JSON, or nothing)

# Without one, a master refuses agents that have one.
domain() {
  if [[ $MESOS_DOMAIN ]]; then echo "'--domain=$MESOS_DOMAIN'"; fi
}

unit() {
  cat <<END
[Unit]
Description=Mesos master
After=network-online.target zookeeper.service
StartLimitIntervalSec=0

[Service]
User=mesos
ExecStart=$BIN/mesos-master --zk=$MESOS_ZOOKEEPER --quorum=$MESOS_QUORUM --cluster=$MESOS_CLUSTER \\
  --ip=$MESOS_ADDRESS --port=5050 --hostname=$MESOS_ADDRESS --no-hostname_lookup \\
  --work_dir=$DATA/mesos/master --registry=replicated_log \\
  --allocation_interval=$MESOS_ALLOCATION_INTERVAL --agent_ping_timeout=10secs \\
  --max_agent_ping_timeouts=5 --agent_removal_rate_limit=1/10secs $(domain)
Restart=always
RestartSec=1
LimitNOFILE=65536
NoNewPrivileges=yes
PrivateTmp=yes
ProtectHome=yes
ProtectSystem=strict
ReadWritePaths=$DATA/mesos/master

[Install]
WantedBy=multi-user.target
END
}

answers() {
  curl --silent --fail --max-time 2 "http://$MESOS_ADDRESS:5050/health"
}

# Where the leading master is found, from here.
knows_leader() {
  curl --silent --fail --max-time 2 --location "http://$MESOS_ADDRESS:5050/state-summary"
}

others() {
  grep -oE '[0-9.]+:2181' <<<"$MESOS_ZOOKEEPER" | cut -d : -f 1 | grep -vxF "$MESOS_ADDRESS"
}

others_serve() {
  local address
  for address in $(others); do if master_votes "$address"; then return; fi; done
  return 1
}

up() {
  local served_before=no
  if [[ -e $DATA/mesos/master/replicated_log ]]; then served_before=yes; fi
  ensure_user mesos
  install_program mesos "$MESOS_VERSION" mesos-master
  ensure_directory "$DATA/mesos" 0755 root
  ensure_directory "$DATA/mesos/master" 0750 mesos
  ensure_unit mesos-master "$(unit)"
  wait_until 60 mesos-master answers
  # The next one is restarted only when this one's vote counts. The first masters of a new cluster have
  # nobody to agree with yet.
  if others_serve; then
    wait_until 60 mesos-master master_votes "$MESOS_ADDRESS"
  elif [[ $served_before == yes || -z $(others) ]]; then
    try_until 20 knows_leader || echo "mesos-master: no leading master yet" >&2
  fi
}

down() {
  remove_unit mesos-master
  rm -rf "$DATA/mesos/master"
}

main "$@"
