# Dumps a PostgreSQL database into the back-up volume, or loads a dump. Runs in PostgreSQL's image: pg_dump must be at
# least as new as the server. libpq does not know SQLAlchemy's driver names, as in postgresql+psycopg2://…
set -eu
umask 077
url=$(printf '%s' "$MLFLOW_BACKEND_STORE_URI" | sed 's|^postgresql+[a-z0-9]*://|postgresql://|; s|^postgres://|postgresql://|')
mkdir -p /backup/database
tries=60
until pg_isready --quiet --dbname="$url"; do
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || { echo "error: the database does not answer" >&2; exit 1; }
    sleep 2
done

case $1 in
dump)
    name=$(date -u +%Y-%m-%dT%H-%M-%SZ)
    pg_dump --format=custom --file="/backup/database/$name.partial" --dbname="$url"
    mv "/backup/database/$name.partial" "/backup/database/$name.dump"
    echo "dumped the database into database/$name.dump"
    ;;
load)
    file=${MODELOPS_BACKUP:-$(ls -1 /backup/database/*.dump | tail -n 1)}
    pg_restore --clean --if-exists --no-owner --single-transaction --exit-on-error --dbname="$url" "$file"
    echo "loaded the database from $file"
    ;;
esac
