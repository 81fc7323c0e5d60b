# shellcheck shell=bash
# How an agent leaves: its pods move elsewhere, Mesos lets go of it, its node is deleted.
# Runs on a control host, which knows both; nothing happens until the agent is taken out, or its
# machine is said to be gone.
#
# Reads: DEPARTURE_AGENT DEPARTURE_MESOS (address of a master) DEPARTURE_TIMEOUT_S
#        DEPARTURE_GONE (yes: the machine is dead, whatever still answers there)

kube() {
  "$BIN/kubectl" --kubeconfig "$ETC/kubernetes/admin.kubeconfig" "$@"
}

operator() {
  curl --silent --show-error --fail --location-trusted --max-time 10 \
    --header 'Content-Type: application/json' --header 'Accept: application/json' \
    --data "$1" "http://$DEPARTURE_MESOS:5050/api/v1"
}

# agent: id, address and `active` or `inactive` of the agent that leaves, as Mesos knows it; nothing if it
# does not. One that has just died is inactive at once, and Ready in Kubernetes for a while.
agent() {
  operator '{"type": "GET_AGENTS"}' | python3 -c 'import json, sys
agents = json.load(sys.stdin)["get_agents"].get("agents", [])
for agent in sorted(agents, key=lambda agent: not agent["active"]):
    if agent["agent_info"]["hostname"] == sys.argv[1]:
        state = "active" if agent["active"] else "inactive"
        print(agent["agent_info"]["id"]["value"], agent["pid"].partition("@")[2], state)' "$DEPARTURE_AGENT"
}

# is_dead ADDRESS:PORT: nobody is there, not even to refuse. Mesos and Kubernetes take a minute to see
# that a machine has no power.
is_dead() {
  local said
  said=$(timeout 5 bash -c ": <'/dev/tcp/${1%:*}/${1##*:}'" 2>&1) && return 1
  [[ $said != *refused* ]]
}

# node_is_ready: the kubelet says so; without it no pod would end.
node_is_ready() {
  local path='{.status.conditions[?(@.type=="Ready")].status}'
  [[ $(kube get node "$DEPARTURE_AGENT" --output "jsonpath=$path" 2>/dev/null) == True ]]
}

drain_node() {
  if ! node_is_ready; then return; fi
  # Pods that a disruption budget holds back are waited for; then they go all the same, as the
  # machine does.
  kube drain "$DEPARTURE_AGENT" --ignore-daemonsets --delete-emptydir-data --force \
    --timeout="${DEPARTURE_TIMEOUT_S}s" || echo "not every pod moved in time" >&2
}

leave_mesos() {
  local id=$1
  operator "{\"type\": \"DRAIN_AGENT\", \"drain_agent\": {\"agent_id\": {\"value\": \"$id\"},
    \"max_grace_period\": {\"seconds\": 15}, \"mark_gone\": true}}"
  try_until 40 agent_gone || echo "Mesos still knows $DEPARTURE_AGENT" >&2
}

agent_gone() {
  [[ $(agent) != *" active"* ]]
}

# give_up ID: a dead agent cannot drain; its pods are free to start elsewhere at once.
give_up() {
  operator "{\"type\": \"MARK_AGENT_GONE\", \"mark_agent_gone\": {\"agent_id\": {\"value\": \"$1\"}}}"
}

forget_node() {
  kube delete node "$DEPARTURE_AGENT" --ignore-not-found --wait=false
}

# be_gone: nothing is asked of the machine, and nothing is waited for.
be_gone() {
  local id=''
  read -r id _ < <(agent) || true
  if [[ $id ]]; then give_up "$id"; fi
  forget_node
}

up() {
  if [[ $DEPARTURE_GONE ]]; then be_gone; fi
}

down() {
  local id='' address='' state=''
  if [[ $DEPARTURE_GONE ]]; then
    be_gone
    return
  fi
  read -r id address state < <(agent) || true
  if [[ $id ]] && is_dead "$address"; then
    echo "$DEPARTURE_AGENT does not answer: nothing is waited for"
    give_up "$id"
  else
    drain_node
    if [[ $state == active ]]; then leave_mesos "$id"; fi
  fi
  forget_node
}

main "$@"
