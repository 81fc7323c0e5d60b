# shellcheck shell=bash
# Ask the smoke pod what the guide's last line asks, until the answer is right.
#
# Reads: SMOKE_POD SMOKE_POD_UID SMOKE_NAMESPACE SMOKE_NAME SMOKE_SERVER SMOKE_ADDRESS SMOKE_JUDGE
#        (a Python program: judges the answer on its stdin, exits 1 and says why when it is wrong)

ask() {
  # busybox exits 1 when one of the search domains has no such name: its answer counts.
  "$BIN/kubectl" --kubeconfig "$ETC/kubernetes/admin.kubeconfig" --namespace "$SMOKE_NAMESPACE" \
    exec "$SMOKE_POD" -- nslookup "$SMOKE_NAME" 2>&1 | grep -v '^command terminated with' || true
}

right() {
  answer=$(ask)
  verdict=$(python3 -c "$SMOKE_JUDGE" "$SMOKE_SERVER" "$SMOKE_ADDRESS" <<<"$answer" 2>&1)
}

up() {
  if ! try_until 60 right; then
    fail "nslookup $SMOKE_NAME: $verdict; the pod's answer was:
$answer"
  fi
  echo "$answer"
}

down() { :; }

main "$@"
