# shellcheck shell=bash
# What a Kubernetes node finds on its host before Mesos starts one: containers, networking,
# images, programs, and its own certificates.
#
# Reads: NODE_ADDRESS NODE_POD_NETWORK NODE_PAUSE_IMAGE NODE_IMAGES (names)
#        NODE_IMAGE_SOURCES (changes when an image of the same name does)
#        NODE_API_SERVERS (addresses; with more than one, a proxy on this host reaches them all)
#        KM_VERSION KUBERNETES_VERSION CNI_VERSION FLANNEL_VERSION
#        NODE_AUTHORITY NODE_CERTIFICATE NODE_KEY
#        NODE_KUBELET_KUBECONFIG NODE_PROXY_KUBECONFIG NODE_FLANNEL_KUBECONFIG

PKI=$ETC/pki
CONFIG=$ETC/kubernetes

# A container (nspawn) may not lower anybody's OOM score below its own.
in_container() {
  if systemd-detect-virt --container --quiet; then echo true; else echo false; fi
}

containerd_config() {
  cat <<END
version = 2
[plugins."io.containerd.grpc.v1.cri"]
  restrict_oom_score_adj = $(in_container)
  sandbox_image = "$NODE_PAUSE_IMAGE"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "$BIN"
    conf_dir = "/etc/cni/net.d"
END
}

minion_config() {
  local storage=true
  # cadvisor measures a device; an overlay has none behind it.
  if [[ $(findmnt -n -o SOURCE --target /var/lib/containerd) != /dev/* ]]; then storage=false; fi
  cat <<END
{
  "kubeconfig": "$CONFIG/kubelet.kubeconfig",
  "proxy_kubeconfig": "$CONFIG/kube-proxy.kubeconfig",
  "flannel_kubeconfig": "$CONFIG/flannel.kubeconfig",
  "client_ca": "$PKI/ca.crt",
  "serving_certificate": "$PKI/kubelet.crt",
  "serving_key": "$PKI/kubelet.key",
  "bin_dir": "$BIN",
  "cni_bin_dir": "$BIN",
  "node_ip": "$NODE_ADDRESS",
  "pod_network": "$NODE_POD_NETWORK",
  "container_runtime_endpoint": "unix:///run/containerd/containerd.sock",
  "local_storage_capacity_isolation": $storage,
  "state_dir": "$DATA/minion"
}
END
}

haproxy_config() {
  local address number=0
  cat <<END
global
  maxconn 4096
defaults
  mode tcp
  timeout connect 2s
  timeout client 24h
  timeout server 24h
frontend kubernetes
  bind 127.0.0.1:6444
  default_backend apiservers
backend apiservers
  option httpchk GET /readyz
  default-server check check-ssl verify required ca-file $PKI/ca.crt inter 1s fall 2 rise 1 on-marked-down shutdown-sessions
END
  for address in $NODE_API_SERVERS; do
    number=$((number + 1))
    echo "  server control-$number $address:6443"
  done
}

# Two recipes never write the same network settings, so sysctl.d has a file of ours alone.
kernel_settings() {
  cat <<END
net.ipv4.ip_forward = 1
net.bridge.bridge-nf-call-iptables = 1
END
}

keep_kernel_settings() {
  local key
  if [[ -e $BEFORE/sysctl || -e /etc/sysctl.d/90-kubernetes-mesos.conf ]]; then return; fi
  mkdir -p "$BEFORE"
  while read -r key _; do sysctl "$key" 2>/dev/null || true; done < <(kernel_settings) \
    >"$BEFORE/sysctl"
}

apply_kernel_settings() {
  # Built in, or loaded by the machine around us; else now, and at each start.
  if modprobe br_netfilter 2>/dev/null; then
    write_file /etc/modules-load.d/90-kubernetes-mesos.conf 0644 root br_netfilter
  fi
  keep_kernel_settings
  write_file /etc/sysctl.d/90-kubernetes-mesos.conf 0644 root "$(kernel_settings)"
  sysctl --quiet --load=/etc/sysctl.d/90-kubernetes-mesos.conf || true
  # Where the machine around us decides (no bridge module here), there is nothing to watch.
  local key value
  while read -r key _ value; do
    if [[ $(sysctl -n "$key" 2>/dev/null) == "$value" ]]; then record sysctl "$value" - "$key"; fi
  done < <(kernel_settings)
}

# archives: archive and name of each image that the store has; the others come from registries.
archives() {
  python3 - "$STORE/images/index.json" "$NODE_IMAGES" <<'END'
import json, pathlib, sys
index = pathlib.Path(sys.argv[1])
known = json.loads(index.read_text()) if index.exists() else {}
for name in sys.argv[2].split():
    if name in known:
        print(known[name], name)
END
}

import_images() {
  local archive name known
  known=$(ctr --namespace k8s.io images list --quiet)
  while read -r archive name; do
    # The marker says which archive the image of this name is from.
    local marker=$DATA/images/$archive
    if [[ -e $marker ]] && grep -qxF "$name" <<<"$known"; then continue; fi
    # Without the marker, what containerd knows under this name may have died half written.
    ctr --namespace k8s.io images remove --sync "$name" >/dev/null 2>&1 || true
    ctr --namespace k8s.io images import "$STORE/images/$archive" >/dev/null
    mkdir -p "$DATA/images"
    sync --file-system /var/lib/containerd
    touch "$marker"
    echo "imported $name"
  done < <(archives)
}

# cri_answers: containerd itself may answer long before the part of it that the kubelet talks to.
cri_answers() {
  ctr plugins ls | awk '$1 == "io.containerd.grpc.v1" && $2 == "cri" && $NF == "ok" {found = 1}
    END {exit !found}'
}

up() {
  local served_before=no
  if agent_is_registered "$NODE_ADDRESS" 2>/dev/null; then served_before=yes; fi
  keep /etc/containerd/config.toml
  write_file /etc/containerd/config.toml 0644 root "$(containerd_config)"
  run_unit containerd
  apply_kernel_settings
  install_program km "$KM_VERSION" km
  install_program kubernetes "$KUBERNETES_VERSION" kubelet kube-proxy
  install_program cni "$CNI_VERSION" bridge host-local loopback portmap
  install_program flannel "$FLANNEL_VERSION" flanneld
  write_file "$PKI/ca.crt" 0644 root "$NODE_AUTHORITY"
  write_file "$PKI/kubelet.crt" 0644 root "$NODE_CERTIFICATE"
  write_file "$PKI/kubelet.key" 0600 root "$NODE_KEY"
  write_file "$CONFIG/kubelet.kubeconfig" 0600 root "$NODE_KUBELET_KUBECONFIG"
  write_file "$CONFIG/kube-proxy.kubeconfig" 0600 root "$NODE_PROXY_KUBECONFIG"
  write_file "$CONFIG/flannel.kubeconfig" 0600 root "$NODE_FLANNEL_KUBECONFIG"
  write_file "$ETC/minion.json" 0644 root "$(minion_config)"
  # shellcheck disable=SC2034 # so far nothing that haproxy would have to be restarted for
  changed=no
  if [[ $NODE_API_SERVERS == *" "* ]]; then
    keep /etc/haproxy/haproxy.cfg
    write_file /etc/haproxy/haproxy.cfg 0644 root "$(haproxy_config)"
    run_unit haproxy
    wait_until 20 haproxy port_open 127.0.0.1 6444
  fi
  wait_until 60 containerd cri_answers
  import_images
  # The next host changes when this one is done: not before this one can run pods again. An agent that
  # did not serve before either is for its own recipe to start, which comes after this one.
  if [[ $served_before == yes ]]; then wait_until 60 mesos-agent agent_is_registered "$NODE_ADDRESS"; fi
}

down() {
  give_back /etc/containerd/config.toml
  if [[ -e $BEFORE/files/etc/haproxy ]]; then give_back /etc/haproxy/haproxy.cfg; fi
  release_unit containerd
  release_unit haproxy
  rm -rf "$PKI" "$CONFIG/kubelet.kubeconfig" "$CONFIG/kube-proxy.kubeconfig" \
    "$CONFIG/flannel.kubeconfig" "$ETC/minion.json" "$DATA/images" \
    /etc/sysctl.d/90-kubernetes-mesos.conf /etc/modules-load.d/90-kubernetes-mesos.conf
  if [[ -e $BEFORE/sysctl ]]; then sysctl --quiet --load="$BEFORE/sysctl" || true; fi
  rm -f "$BEFORE/sysctl"
}

main "$@"
