# shellcheck shell=bash
# Kubernetes' controllers: they make what was asked for out of what there is.
#
# Reads: KUBERNETES_VERSION CONTROLLERS_POD_NETWORK CONTROLLERS_SERVICE_NETWORK
#        CONTROLLERS_LEADER_ELECTION (true or false) CONTROLLERS_KUBECONFIG
#        CONTROLLERS_AUTHORITY CONTROLLERS_AUTHORITY_KEY CONTROLLERS_SERVICE_ACCOUNT_KEY

PKI=$ETC/kube-controller-manager
KUBECONFIG_FILE=$PKI/kubeconfig

unit() {
  cat <<END
[Unit]
Description=Kubernetes controller manager
After=network-online.target kube-apiserver.service
StartLimitIntervalSec=0

[Service]
User=kube-controller-manager
$(after_api_server)
ExecStart=$BIN/kube-controller-manager --kubeconfig=$KUBECONFIG_FILE \\
  --authentication-kubeconfig=$KUBECONFIG_FILE --authorization-kubeconfig=$KUBECONFIG_FILE \\
  --bind-address=127.0.0.1 --leader-elect=$CONTROLLERS_LEADER_ELECTION \\
  --allocate-node-cidrs=true --cluster-cidr=$CONTROLLERS_POD_NETWORK --node-cidr-mask-size=24 \\
  --service-cluster-ip-range=$CONTROLLERS_SERVICE_NETWORK --root-ca-file=$PKI/ca.crt \\
  --cluster-signing-cert-file=$PKI/ca.crt --cluster-signing-key-file=$PKI/ca.key \\
  --service-account-private-key-file=$PKI/service-account.key \\
  --use-service-account-credentials=true --profiling=false
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
  curl --silent --fail --insecure --max-time 2 https://127.0.0.1:10257/healthz
}

# The API server refuses every pod of a namespace until the controllers have made its account.
pods_allowed() {
  "$BIN/kubectl" --kubeconfig "$KUBECONFIG_FILE" --namespace default get serviceaccount default
}

up() {
  local user=kube-controller-manager
  ensure_user "$user"
  install_program kubernetes "$KUBERNETES_VERSION" kube-controller-manager kubectl
  write_file "$KUBECONFIG_FILE" 0600 "$user" "$CONTROLLERS_KUBECONFIG"
  write_file "$PKI/ca.crt" 0644 root "$CONTROLLERS_AUTHORITY"
  write_file "$PKI/ca.key" 0600 "$user" "$CONTROLLERS_AUTHORITY_KEY"
  write_file "$PKI/service-account.key" 0600 "$user" "$CONTROLLERS_SERVICE_ACCOUNT_KEY"
  ensure_unit kube-controller-manager "$(unit)"
  wait_until 60 kube-controller-manager healthy
  wait_until 60 kube-controller-manager pods_allowed
}

down() {
  remove_unit kube-controller-manager
  rm -rf "$PKI"
}

main "$@"
