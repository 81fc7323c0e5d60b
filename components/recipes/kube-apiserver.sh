# shellcheck shell=bash
# The Kubernetes API server, and the rights of what talks to it.
#
# Reads: KUBERNETES_VERSION API_ADDRESS API_ETCD_SERVERS API_SERVICE_NETWORK API_ISSUER API_ACCESS
#        API_AUTHORITY API_CERTIFICATE API_KEY API_ETCD_AUTHORITY API_ETCD_CERTIFICATE API_ETCD_KEY
#        API_KUBELET_CERTIFICATE API_KUBELET_KEY API_PROXY_AUTHORITY API_PROXY_CERTIFICATE
#        API_PROXY_KEY API_SERVICE_ACCOUNT_KEY API_SERVICE_ACCOUNT_PUBLIC API_ADMIN_KUBECONFIG

PKI=$ETC/kube-apiserver
ADMIN=$ETC/kubernetes/admin.kubeconfig

unit() {
  cat <<END
[Unit]
Description=Kubernetes API server
After=network-online.target etcd.service
StartLimitIntervalSec=0

[Service]
User=kube-apiserver
ExecStart=$BIN/kube-apiserver --bind-address=0.0.0.0 --secure-port=6443 --advertise-address=$API_ADDRESS \\
  --etcd-servers=$API_ETCD_SERVERS --etcd-cafile=$PKI/etcd-ca.crt \\
  --etcd-certfile=$PKI/etcd-client.crt --etcd-keyfile=$PKI/etcd-client.key \\
  --tls-cert-file=$PKI/apiserver.crt --tls-private-key-file=$PKI/apiserver.key \\
  --client-ca-file=$PKI/ca.crt --authentication-config=$PKI/authentication.yaml \\
  --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction \\
  --kubelet-certificate-authority=$PKI/ca.crt \\
  --kubelet-client-certificate=$PKI/kubelet-client.crt --kubelet-client-key=$PKI/kubelet-client.key \\
  --kubelet-preferred-address-types=InternalIP \\
  --requestheader-client-ca-file=$PKI/front-proxy-ca.crt --requestheader-allowed-names=front-proxy-client \\
  --requestheader-extra-headers-prefix=X-Remote-Extra- --requestheader-group-headers=X-Remote-Group \\
  --requestheader-username-headers=X-Remote-User --enable-aggregator-routing=true \\
  --proxy-client-cert-file=$PKI/front-proxy-client.crt --proxy-client-key-file=$PKI/front-proxy-client.key \\
  --service-account-issuer=$API_ISSUER --service-account-key-file=$PKI/service-account.pub \\
  --service-account-signing-key-file=$PKI/service-account.key \\
  --service-cluster-ip-range=$API_SERVICE_NETWORK --allow-privileged=true --profiling=false
Restart=always
RestartSec=1
# Without etcd it would try for a minute to end in good order.
TimeoutStopSec=15
LimitNOFILE=65536
NoNewPrivileges=yes
PrivateTmp=yes
ProtectHome=yes
ProtectSystem=strict

[Install]
WantedBy=multi-user.target
END
}

# Without a certificate one may ask whether it is well, and nothing else.
authentication() {
  cat <<END
apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
anonymous:
  enabled: true
  conditions: [{path: /livez}, {path: /readyz}, {path: /healthz}]
END
}

ready() {
  curl --silent --fail --max-time 2 --cacert "$PKI/ca.crt" https://127.0.0.1:6443/readyz
}

grant_access() {
  "$BIN/kubectl" --kubeconfig "$ADMIN" apply --server-side --force-conflicts \
    --field-manager=kubernetes-mesos --filename "$ETC/kubernetes/access.yaml" >/dev/null
}

up() {
  ensure_user kube-apiserver
  install_program kubernetes "$KUBERNETES_VERSION" kube-apiserver kubectl
  write_file "$PKI/ca.crt" 0644 root "$API_AUTHORITY"
  write_file "$PKI/apiserver.crt" 0644 root "$API_CERTIFICATE"
  write_file "$PKI/apiserver.key" 0600 kube-apiserver "$API_KEY"
  write_file "$PKI/etcd-ca.crt" 0644 root "$API_ETCD_AUTHORITY"
  write_file "$PKI/etcd-client.crt" 0644 root "$API_ETCD_CERTIFICATE"
  write_file "$PKI/etcd-client.key" 0600 kube-apiserver "$API_ETCD_KEY"
  write_file "$PKI/kubelet-client.crt" 0644 root "$API_KUBELET_CERTIFICATE"
  write_file "$PKI/kubelet-client.key" 0600 kube-apiserver "$API_KUBELET_KEY"
  write_file "$PKI/front-proxy-ca.crt" 0644 root "$API_PROXY_AUTHORITY"
  write_file "$PKI/front-proxy-client.crt" 0644 root "$API_PROXY_CERTIFICATE"
  write_file "$PKI/front-proxy-client.key" 0600 kube-apiserver "$API_PROXY_KEY"
  write_file "$PKI/service-account.pub" 0644 root "$API_SERVICE_ACCOUNT_PUBLIC"
  write_file "$PKI/service-account.key" 0600 kube-apiserver "$API_SERVICE_ACCOUNT_KEY"
  write_file "$PKI/authentication.yaml" 0644 root "$(authentication)"
  ensure_unit kube-apiserver "$(unit)"
  write_file "$ADMIN" 0600 root "$API_ADMIN_KUBECONFIG"
  write_file "$ETC/kubernetes/access.yaml" 0644 root "$API_ACCESS"
  wait_until 60 kube-apiserver ready
  wait_until 30 kube-apiserver grant_access
}

down() {
  remove_unit kube-apiserver
  rm -rf "$PKI" "$ADMIN" "$ETC/kubernetes/access.yaml"
}

main "$@"
