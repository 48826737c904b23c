# Runs before Airflow's programs, in their image: migrates the database, and gives the administrator the password of the Secret.
# With `=`, because a password may begin with a hyphen.
set -eu
airflow db migrate
said=$(airflow users create --role Admin --username="$ADMIN_USERNAME" --password="$ADMIN_PASSWORD" \
    --firstname Admin --lastname Admin --email admin@localhost.localdomain 2>&1) || { echo "$said" >&2; exit 1; }
case $said in
    *"already exist"*) airflow users reset-password --username="$ADMIN_USERNAME" --password="$ADMIN_PASSWORD" ;;
esac
