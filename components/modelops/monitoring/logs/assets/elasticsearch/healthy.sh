# Whether this node answers and knows the cluster. The password is not on a command line.
printf 'user = "modelops_setup:%s"\n' "$SETUP_PASSWORD" |
  curl -sf -m 5 -K - --cacert /usr/share/elasticsearch/config/certificates/ca.crt \
    "https://localhost:9200/_cluster/health?local=true" >/dev/null
