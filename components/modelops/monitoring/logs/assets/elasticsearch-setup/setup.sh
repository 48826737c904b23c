# Installs the lifecycle policy, pipeline, template and Kibana's objects. Idempotent.
set -eu

request() {
  # Keeps the password off the command line, and prints the response to a rejected request.
  answer=/tmp/answer
  status=$(printf 'user = "%s:%s"\n' "$USERNAME" "$PASSWORD" |
    curl -sS -K - ${CERTIFICATE_AUTHORITY:+--cacert "$CERTIFICATE_AUTHORITY"} -m 60 --retry 30 --retry-delay 2 \
      --retry-connrefused -o "$answer" -w '%{http_code}' "$@")
  case "$status" in
    2*) ;;
    *)
      echo "error: $* returned $status: $(cat "$answer")" >&2
      exit 1
      ;;
  esac
}

put() {
  request -X PUT -H 'Content-Type: application/json' --data-binary "@/setup/$2" "$ELASTICSEARCH_URL$1"
  echo "put $1"
}

put /_ilm/policy/modelops-logs lifecycle.json
put /_ingest/pipeline/modelops-logs pipeline.json
put /_index_template/modelops-logs index-template.json
if [ -f /setup/repository.json ]; then
  put /_snapshot/modelops repository.json
  put /_slm/policy/modelops snapshots.json
fi
if [ -n "${KIBANA_URL:-}" ]; then
  request -X POST -H 'kbn-xsrf: modelops' -F file=@/setup/kibana.ndjson \
    "$KIBANA_URL/api/saved_objects/_import?overwrite=true"
  if ! grep -q '"success":true' /tmp/answer; then
    echo "error: Kibana did not import every object: $(cat /tmp/answer)" >&2
    exit 1
  fi
  echo "imported Kibana's objects"
fi
