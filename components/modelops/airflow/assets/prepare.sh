# Runs before Airflow's programs, in their image: migrates the database, keeps the DAG's version, and sets the administrator's
# password from the Secret. Options are written with `=`, because a password may begin with a hyphen.
set -eu
airflow db migrate
python3 "$DAG_VERSIONS" "$DAG_SOURCE" "$AIRFLOW__CORE__DAGS_FOLDER"
output=$(airflow users create --role Admin --username="$ADMIN_USERNAME" --password="$ADMIN_PASSWORD" \
    --firstname Admin --lastname Admin --email admin@localhost.localdomain 2>&1) || { echo "$output" >&2; exit 1; }
case $output in
    *"already exist"*) airflow users reset-password --username="$ADMIN_USERNAME" --password="$ADMIN_PASSWORD" ;;
esac
