# Writes Elasticsearch's configuration with the users that the Secret names, anew at each start of the pod.
set -eu
cp -a /usr/share/elasticsearch/config/. /config/
cp /modelops/elasticsearch.yml /modelops/roles.yml /config/
rm -f /config/users /config/users_roles
touch /config/users /config/users_roles
export ES_PATH_CONF=/config
elasticsearch-users useradd modelops -p "$ADMIN_PASSWORD" -r superuser
elasticsearch-users useradd modelops_kibana -p "$KIBANA_PASSWORD" -r kibana_system
elasticsearch-users useradd modelops_logstash -p "$LOGSTASH_PASSWORD" -r modelops_logs_writer
