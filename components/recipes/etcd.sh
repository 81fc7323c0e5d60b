# shellcheck shell=bash
# An etcd member: where Kubernetes keeps everything.
#
# Reads: ETCD_VERSION ETCD_NAME ETCD_ADDRESS ETCD_MEMBERS (name=https://address:2380,...)
#        ETCD_AUTHORITY ETCD_CERTIFICATE ETCD_KEY

PKI=$ETC/etcd

unit() {
  cat <<END
[Unit]
Description=etcd
After=network-online.target
StartLimitIntervalSec=0

[Service]
User=etcd
ExecStart=$BIN/etcd --name=$ETCD_NAME --data-dir=$DATA/etcd \\
  --initial-cluster=$ETCD_MEMBERS --initial-cluster-token=kubernetes-mesos \\
  --listen-peer-urls=https://$ETCD_ADDRESS:2380 \\
  --initial-advertise-peer-urls=https://$ETCD_ADDRESS:2380 \\
  --listen-client-urls=https://$ETCD_ADDRESS:2379,https://127.0.0.1:2379 \\
  --advertise-client-urls=https://$ETCD_ADDRESS:2379 \\
  --listen-metrics-urls=http://127.0.0.1:2381 \\
  --trusted-ca-file=$PKI/ca.crt --cert-file=$PKI/etcd.crt --key-file=$PKI/etcd.key --client-cert-auth \\
  --peer-trusted-ca-file=$PKI/ca.crt --peer-cert-file=$PKI/etcd.crt --peer-key-file=$PKI/etcd.key \\
  --peer-client-cert-auth --log-level=warn
Restart=always
RestartSec=1
LimitNOFILE=65536
NoNewPrivileges=yes
PrivateTmp=yes
ProtectHome=yes
ProtectSystem=strict
ReadWritePaths=$DATA/etcd

[Install]
WantedBy=multi-user.target
END
}

listens() {
  port_open 127.0.0.1 2381
}

healthy() {
  curl --silent --fail --max-time 2 http://127.0.0.1:2381/health
}

up() {
  local served_before=no
  if [[ -d $DATA/etcd/member ]]; then served_before=yes; fi
  ensure_user etcd
  install_program etcd "$ETCD_VERSION" etcd etcdctl
  ensure_directory "$DATA/etcd" 0700 etcd
  write_file "$PKI/ca.crt" 0644 root "$ETCD_AUTHORITY"
  write_file "$PKI/etcd.crt" 0644 root "$ETCD_CERTIFICATE"
  write_file "$PKI/etcd.key" 0600 etcd "$ETCD_KEY"
  ensure_unit etcd "$(unit)"
  # The first members of a new cluster have nobody to agree with yet; one that has served before
  # must be healthy before the next one is restarted.
  if [[ $ETCD_MEMBERS != *,* ]]; then
    wait_until 60 etcd healthy
  elif [[ $served_before == yes ]]; then
    try_until 30 healthy || echo "etcd: no quorum yet" >&2
  else
    try_until 5 listens || echo "etcd: waits for the other members" >&2
  fi
}

down() {
  remove_unit etcd
  rm -rf "$PKI" "$DATA/etcd"
}

main "$@"
