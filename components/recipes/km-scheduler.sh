# shellcheck shell=bash
# km: Kubernetes' scheduler as a framework of Mesos, with kube-scheduler as its child.
#
# Reads: KM_VERSION KUBERNETES_VERSION KM_MESOS_MASTER KM_NODES KM_NODE_VERSION KM_ROLES
#        KM_CLUSTER_DNS KM_CLUSTER_DOMAIN KM_ADDRESS KM_KUBECONFIG KM_SCHEDULER_KUBECONFIG
#        KM_AGENT_LABELS (JSON: agent, label, value) KM_IDLE_TIMEOUT KM_OFFER_HOLD
#        KM_DEFAULT_CPUS KM_DEFAULT_MEMORY_MB KM_OVERHEAD_CPUS KM_OVERHEAD_MEMORY_MB

CLOUD_CONFIG=$ETC/kubernetes/mesos-cloud.conf
AGENT_LABELS_FILE=$ETC/kubernetes/agent-labels.json
KUBECONFIG_FILE=$ETC/kubernetes/km.kubeconfig
SCHEDULER_KUBECONFIG_FILE=$ETC/kubernetes/kube-scheduler.kubeconfig
NODE_VERSION_FILE=$ETC/kubernetes/node-version.env

cloud_config() {
  cat <<END
[mesos-cloud]
mesos-master = $KM_MESOS_MASTER
END
}

unit() {
  cat <<END
[Unit]
Description=Kubernetes on Mesos: km scheduler
After=network-online.target kube-apiserver.service mesos-master.service
StartLimitIntervalSec=0

[Service]
User=km
RuntimeDirectory=km
EnvironmentFile=$NODE_VERSION_FILE
$(after_api_server)
ExecStart=$BIN/km scheduler --mesos-master=$KM_MESOS_MASTER --cloud-config=$CLOUD_CONFIG \\
  --kubeconfig=$KUBECONFIG_FILE --kube-scheduler=$BIN/kube-scheduler \\
  --kube-scheduler-kubeconfig=$SCHEDULER_KUBECONFIG_FILE \\
  --cluster-dns=$KM_CLUSTER_DNS --cluster-domain=$KM_CLUSTER_DOMAIN \\
  --nodes=$KM_NODES --node-version=\${KM_NODE_VERSION} --agent-labels=$AGENT_LABELS_FILE \\
  --idle-timeout=$KM_IDLE_TIMEOUT --offer-hold=$KM_OFFER_HOLD \\
  --default-container-cpu-limit=$KM_DEFAULT_CPUS \\
  --default-container-mem-limit=$KM_DEFAULT_MEMORY_MB \\
  --executor-cpus=$KM_OVERHEAD_CPUS --executor-mem=$KM_OVERHEAD_MEMORY_MB \\
  --address=0.0.0.0 --port=10251 --advertised-address=$KM_ADDRESS --runtime-dir=/run/km \\
  --framework-name=Kubernetes --framework-roles=$KM_ROLES --failover-timeout=604800
Restart=always
RestartSec=1
LimitNOFILE=65536
NoNewPrivileges=yes
PrivateTmp=yes
ProtectHome=yes
ProtectSystem=strict

[Install]
WantedBy=multi-user.target
END
}

healthy() {
  curl --silent --fail --max-time 2 http://127.0.0.1:10251/healthz
}

up() {
  ensure_user km
  install_program km "$KM_VERSION" km
  install_program kubernetes "$KUBERNETES_VERSION" kube-scheduler
  write_file "$CLOUD_CONFIG" 0644 root "$(cloud_config)"
  write_file "$AGENT_LABELS_FILE" 0644 root "$KM_AGENT_LABELS"
  write_file "$KUBECONFIG_FILE" 0600 km "$KM_KUBECONFIG"
  write_file "$SCHEDULER_KUBECONFIG_FILE" 0600 km "$KM_SCHEDULER_KUBECONFIG"
  # Later versions are told by the recipe node-version, when the agents' hosts have them.
  if [[ ! -e $NODE_VERSION_FILE ]]; then
    write_file "$NODE_VERSION_FILE" 0644 root "KM_NODE_VERSION=$KM_NODE_VERSION"
  fi
  ensure_unit km-scheduler "$(unit)"
  wait_until 60 km-scheduler healthy
}

down() {
  remove_unit km-scheduler
  rm -f "$CLOUD_CONFIG" "$AGENT_LABELS_FILE" "$KUBECONFIG_FILE" "$SCHEDULER_KUBECONFIG_FILE" \
    "$NODE_VERSION_FILE"
}

main "$@"
