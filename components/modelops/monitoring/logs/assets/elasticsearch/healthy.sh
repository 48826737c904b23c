# Checks that this node responds and has joined the cluster. With `recovered` it also checks, until that was so once, that the
# cluster has its shards again, so that a rollout restarts no other node before. Keeps the password off the command line.
# A cluster that is still red after half an hour, when the rollout has failed, isn't kept from those who use the rest of it.
once=/tmp/recovered
health() {
  printf 'user = "modelops_setup:%s"\n' "$SETUP_PASSWORD" |
    curl -sf -m 5 -K - --cacert /usr/share/elasticsearch/config/certificates/ca.crt "https://localhost:9200/_cluster/health$1"
}
if [ "$1" != recovered ] || [ -e "$once" ]; then
  health '?local=true' >/dev/null
  exit
fi
found=$(health '') || exit 1
[ -e "$once.since" ] || : > "$once.since"
none() { printf %s "$found" | grep -q "\"$1\":0[,}]"; }
status=$(printf %s "$found" | sed -n 's/.*"status":"\([a-z]*\)".*/\1/p')
if [ "$status" != green ] && [ -z "$(find "$once.since" -mmin +30)" ]; then
  # Yellow for good is a replica for which there is no node: no wait gives it one.
  if [ "$status" != yellow ] || ! none initializing_shards || ! none delayed_unassigned_shards || ! none number_of_pending_tasks; then
    echo "the cluster is $status and has not all its shards yet"
    exit 1
  fi
fi
: > "$once"
