# shellcheck shell=bash
# A Mesos agent: it offers what the host has.
#
# Reads: MESOS_VERSION MESOS_ZOOKEEPER MESOS_MASTERS (host:port,host:port) MESOS_NAME MESOS_ADDRESS
#        MESOS_ATTRIBUTES (k:v;k:v)
#        MESOS_DOMAIN (JSON, or nothing) MESOS_CPUS MESOS_MEMORY_MB MESOS_DISK_GB (empty: what the machine has)
#        MESOS_RESERVED_MB (not offered) MESOS_PORTS (low-high,low-high, or nothing)

RESERVED_GB=5 # for the system and its logs

resources() {
  local cpus=$MESOS_CPUS memory=$MESOS_MEMORY_MB disk=$MESOS_DISK_GB
  [[ $cpus ]] || cpus=$(nproc)
  [[ $memory ]] || memory=$(($(awk '/^MemTotal:/ { print $2 }' /proc/meminfo) / 1024))
  [[ $disk ]] || disk=$(($(stat --file-system --format '%b * %S / 1073741824' "$DATA")))
  echo "cpus:$cpus;mem:$((memory - MESOS_RESERVED_MB));disk:$(((disk - RESERVED_GB) * 1024));ports:[$MESOS_PORTS]"
}

# Mesos 1.11 knows cgroup v1 only; on v2 the minion limits what runs in it.
isolation() {
  if [[ $(stat --file-system --format %T /sys/fs/cgroup) == cgroup2fs ]]; then
    echo "--launcher=posix --isolation=posix/cpu,posix/mem"
  else
    echo "--launcher=linux --isolation=cgroups/cpu,cgroups/mem"
  fi
}

attributes() {
  if [[ $MESOS_ATTRIBUTES ]]; then echo "--attributes=$MESOS_ATTRIBUTES"; fi
}

domain() {
  if [[ $MESOS_DOMAIN ]]; then echo "'--domain=$MESOS_DOMAIN'"; fi
}

# Packages bring more of them than we install.
launchers() {
  local packaged=$HOME_DIR/mesos/$MESOS_VERSION/launchers
  if [[ -L $packaged ]]; then readlink "$packaged"; else echo "$BIN"; fi
}

# KillMode and Delegate: a restarted agent finds its executors, and the node in them, alive.
unit() {
  cat <<END
[Unit]
Description=Mesos agent
After=network-online.target containerd.service
StartLimitIntervalSec=0

[Service]
ExecStart=$BIN/mesos-agent --master=$MESOS_ZOOKEEPER --ip=$MESOS_ADDRESS --port=5051 \\
  --hostname=$MESOS_NAME --no-hostname_lookup --no-systemd_enable_support \\
  --work_dir=$DATA/mesos/agent --runtime_dir=/run/mesos --launcher_dir=$(launchers) \\
  --reconfiguration_policy=additive --executor_registration_timeout=1mins \\
  $(isolation) $(attributes) $(domain) "--resources=$(resources)"
KillMode=process
Delegate=yes
Restart=always
RestartSec=1
LimitNOFILE=1048576
TasksMax=infinity

[Install]
WantedBy=multi-user.target
END
}

up() {
  install_program mesos "$MESOS_VERSION" \
    mesos-agent mesos-containerizer mesos-executor mesos-fetcher
  ensure_directory "$DATA/mesos" 0755 root
  ensure_directory "$DATA/mesos/agent" 0755 root
  ensure_unit mesos-agent "$(unit)"
  write_file "$MASTERS" 0644 root "${MESOS_MASTERS//,/$'\n'}"
  wait_until 60 mesos-agent agent_is_registered "$MESOS_ADDRESS"
}

down() {
  # Stopping the unit leaves executors running, by design; those of a leaving agent must end.
  let_go mesos-agent SIGUSR1
  remove_unit mesos-agent
  rm -rf "$DATA/mesos/agent" "$MASTERS"
}

main "$@"
