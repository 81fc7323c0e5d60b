# shellcheck shell=bash
# An etcd member: where Kubernetes keeps everything. One that has lost its data, because its host was
# installed anew, takes its place again while the others serve. Other members than before are refused.
#
# Reads: ETCD_VERSION ETCD_NAME ETCD_ADDRESS ETCD_MEMBERS (name=https://address:2380,...)
#        ETCD_AUTHORITY ETCD_CERTIFICATE ETCD_KEY

PKI=$ETC/etcd
UNIT=/etc/systemd/system/etcd.service

has_data() {
  compgen -G "$DATA/etcd/member/wal/*.wal" >/dev/null # a start that was refused leaves the rest
}

# told FLAG: what the unit says now.
told() {
  if [[ -f $UNIT ]]; then grep -oE -- "--$1=\S+" "$UNIT" | cut -d = -f 2- || true; fi
}

# refuse_others: etcd keeps its members itself, and would not read a changed list.
refuse_others() {
  local before
  before=$(told initial-cluster)
  if ! has_data || [[ -z $before || $(sorted "$before") == "$(sorted "$ETCD_MEMBERS")" ]]; then return; fi
  fail "etcd serves ${before//,/, }; its members cannot be changed to ${ETCD_MEMBERS//,/, }." \
    "Put the control hosts back as they were"
}

sorted() {
  tr , '\n' <<<"$1" | sort
}

# ask_others ARGUMENTS...: etcdctl, with the members beside this one.
ask_others() {
  local others
  others=$(tr , '\n' <<<"$ETCD_MEMBERS" | grep -v "^$ETCD_NAME=" | sed 's/^[^=]*=//; s/:2380$/:2379/')
  "$BIN/etcdctl" --endpoints="${others//$'\n'/,}" --cacert="$PKI/ca.crt" --cert="$PKI/etcd.crt" \
    --key="$PKI/etcd.key" --command-timeout=10s "$@"
}

# insist ARGUMENTS...: etcd refuses changes of its members until all of them have been well for a while.
insist() {
  try_until 30 ask_others "$@" || fail "etcdctl $*: $(ask_others "$@" 2>&1)"
}

# begins_as: how the member begins, new or existing. A cluster that serves knows a member that has
# lost its data, and lets it in only under another number.
begins_as() {
  local known id name clients
  if has_data; then
    if [[ $(told initial-cluster-state) ]]; then echo existing; else echo new; fi
    return
  fi
  if [[ $ETCD_MEMBERS != *,* ]] || ! known=$(ask_others member list 2>/dev/null); then
    echo new # alone, or nobody serves yet
    return
  fi
  # ID, status, name, peers, clients: no name before it has begun, no clients before it has served.
  IFS=, read -r id name clients < <(awk -F ', ' -v peer="https://$ETCD_ADDRESS:2380" \
    '$4 == peer {print $1 "," $3 "," $5}' <<<"$known") || true
  if [[ $name && ! $clients ]]; then
    echo new # the first start of all
    return
  fi
  if [[ $clients ]]; then
    echo "etcd: $ETCD_NAME has lost its data, and joins the others again" >&2
    insist member remove "$id"
  fi
  if [[ $clients || ! $id ]]; then
    insist member add "$ETCD_NAME" --peer-urls="https://$ETCD_ADDRESS:2380"
  fi
  rm -rf "$DATA/etcd/member"
  echo existing
}

# unit BEGINS
unit() {
  cat <<END
[Unit]
Description=etcd
After=network-online.target
StartLimitIntervalSec=0

[Service]
User=etcd
ExecStart=$BIN/etcd --name=$ETCD_NAME --data-dir=$DATA/etcd \\
  --initial-cluster=$ETCD_MEMBERS --initial-cluster-token=kubernetes-mesos$(state "$1") \\
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

state() {
  if [[ $1 == existing ]]; then echo " --initial-cluster-state=existing"; fi
}

listens() {
  port_open 127.0.0.1 2381
}

healthy() {
  curl --silent --fail --max-time 2 http://127.0.0.1:2381/health
}

up() {
  local served_before=no begins
  if has_data; then served_before=yes; fi
  refuse_others
  ensure_user etcd
  install_program etcd "$ETCD_VERSION" etcd etcdctl
  ensure_directory "$DATA/etcd" 0700 etcd
  write_file "$PKI/ca.crt" 0644 root "$ETCD_AUTHORITY"
  write_file "$PKI/etcd.crt" 0644 root "$ETCD_CERTIFICATE"
  write_file "$PKI/etcd.key" 0600 etcd "$ETCD_KEY"
  begins=$(begins_as)
  ensure_unit etcd "$(unit "$begins")"
  # The first members of a new cluster have nobody to agree with yet; one that has served before
  # must be healthy before the next one is restarted.
  if [[ $ETCD_MEMBERS != *,* || $begins == existing && $served_before == no ]]; then
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
