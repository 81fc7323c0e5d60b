# shellcheck shell=bash
# A ZooKeeper server, one of an ensemble.
#
# Reads: ZOOKEEPER_SERVERS (addresses in the ensemble's order) ZOOKEEPER_ADDRESS

CONFIG=$ETC/zookeeper

server_lines() {
  local number=0 address
  for address in $ZOOKEEPER_SERVERS; do
    number=$((number + 1))
    echo "server.$number=$address:2888:3888"
  done
}

own_number() {
  local number=0 address
  for address in $ZOOKEEPER_SERVERS; do
    number=$((number + 1))
    if [[ $address == "$ZOOKEEPER_ADDRESS" ]]; then echo "$number"; fi
  done
}

zoo_cfg() {
  cat <<END
tickTime=2000
initLimit=10
syncLimit=5
dataDir=$DATA/zookeeper
admin.enableServer=false
4lw.commands.whitelist=ruok,srvr,mntr
autopurge.snapRetainCount=3
autopurge.purgeInterval=24
clientPort=2181
END
  # Not the newer server.N=...;2181: Ubuntu 22.04 has ZooKeeper 3.4, which does not know it.
  if [[ $ZOOKEEPER_SERVERS == *" "* ]]; then server_lines; fi
}

# No zkServer.sh: Debian's ignores the variables that say where the configuration is.
unit() {
  cat <<END
[Unit]
Description=ZooKeeper
After=network-online.target
StartLimitIntervalSec=0

[Service]
User=zookeeper
ExecStart=/usr/bin/java -Xmx96m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:+ExitOnOutOfMemoryError \\
  -Dzookeeper.jmx.log4j.disable=true -cp $CONFIG:/usr/share/java/zookeeper.jar:/usr/share/java/slf4j-simple.jar \\
  org.apache.zookeeper.server.quorum.QuorumPeerMain $CONFIG/zoo.cfg
# The JVM answers SIGTERM with 143.
SuccessExitStatus=143
Restart=always
RestartSec=1
LimitNOFILE=65536
NoNewPrivileges=yes
PrivateTmp=yes
ProtectHome=yes
ProtectSystem=strict
ReadWritePaths=$DATA/zookeeper

[Install]
WantedBy=multi-user.target
END
}

others_serve() {
  local address
  for address in $ZOOKEEPER_SERVERS; do
    if [[ $address != "$ZOOKEEPER_ADDRESS" ]] && zookeeper_votes "$address" 2>/dev/null; then return; fi
  done
  return 1
}

up() {
  local served_before=no
  if [[ -d $DATA/zookeeper/version-2 ]]; then served_before=yes; fi
  ensure_user zookeeper
  ensure_directory "$DATA/zookeeper" 0750 zookeeper
  write_file "$CONFIG/zoo.cfg" 0644 root "$(zoo_cfg)"
  write_file "$CONFIG/simplelogger.properties" 0644 root "org.slf4j.simpleLogger.defaultLogLevel=warn"
  write_file "$DATA/zookeeper/myid" 0644 zookeeper "$(own_number)"
  ensure_unit zookeeper "$(unit)"
  wait_until 60 zookeeper port_open 127.0.0.1 2181
  # The next one is restarted only when this one is in its quorum, also one that has lost its data and
  # gets it from the others. The first servers of a new ensemble have nobody to agree with yet.
  if others_serve; then
    wait_until 60 zookeeper zookeeper_votes 127.0.0.1
  elif [[ $served_before == yes || $ZOOKEEPER_SERVERS != *" "* ]]; then
    try_until 20 zookeeper_votes 127.0.0.1 || echo "zookeeper: no quorum yet" >&2
  fi
}

down() {
  remove_unit zookeeper
  rm -rf "$CONFIG" "$DATA/zookeeper"
}

main "$@"
