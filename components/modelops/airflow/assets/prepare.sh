# Runs before Airflow's programs, in their image: migrates the database and sets the administrator's password from the Secret.
# Options are written with `=`, because a password may begin with a hyphen.
set -eu
airflow db migrate
output=$(airflow users create --role Admin --username="$ADMIN_USERNAME" --password="$ADMIN_PASSWORD" \
    --firstname Admin --lastname Admin --email admin@localhost.localdomain 2>&1) || { echo "$output" >&2; exit 1; }
case $output in
    *"already exist"*) airflow users reset-password --username="$ADMIN_USERNAME" --password="$ADMIN_PASSWORD" ;;
esac
