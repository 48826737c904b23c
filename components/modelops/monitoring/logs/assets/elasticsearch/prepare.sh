# Writes Elasticsearch's configuration at each start, with the users from the Secrets.
set -eu
umask 077
cp -a /usr/share/elasticsearch/config/. /config/
cp /modelops/elasticsearch.yml /modelops/roles.yml /config/
rm -f /config/users /config/users_roles
touch /config/users /config/users_roles
export ES_PATH_CONF=/config
elasticsearch-users useradd modelops -p "$ADMIN_PASSWORD" -r superuser
elasticsearch-users useradd modelops_setup -p "$SETUP_PASSWORD" -r superuser
elasticsearch-users useradd modelops_kibana -p "$KIBANA_PASSWORD" -r kibana_system
elasticsearch-users useradd modelops_writer -p "$WRITER_PASSWORD" -r modelops_logs_writer
elasticsearch-users useradd modelops_reader -p "$READER_PASSWORD" -r modelops_logs_reader
if [ -n "${S3_ACCESS_KEY:-}" ]; then
  rm -f /config/elasticsearch.keystore
  elasticsearch-keystore create
  printf %s "$S3_ACCESS_KEY" | elasticsearch-keystore add --stdin s3.client.default.access_key
  printf %s "$S3_SECRET_KEY" | elasticsearch-keystore add --stdin s3.client.default.secret_key
fi
