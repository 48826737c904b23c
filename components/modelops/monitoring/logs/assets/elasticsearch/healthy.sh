# Checks that this node responds and has joined the cluster. Keeps the password off the command line.
printf 'user = "modelops_setup:%s"\n' "$SETUP_PASSWORD" |
  curl -sf -m 5 -K - --cacert /usr/share/elasticsearch/config/certificates/ca.crt \
    "https://localhost:9200/_cluster/health?local=true" >/dev/null
