# Runs before the PostgreSQL server, in its image: creates the database on an empty volume, and otherwise sets its user's
# password from the Secret, so that a changed password takes effect at this start. Nobody else can connect meanwhile.
set -eu
umask 077
role=$POSTGRES_ROLE

if [ ! -s "$PGDATA/PG_VERSION" ]; then
    # Under another name first: an interrupted start must not leave what looks like a database.
    rm -rf "$PGDATA.partial"
    printf '%s' "$POSTGRES_PASSWORD" >/tmp/password
    initdb --pgdata "$PGDATA.partial" --username "$role" --pwfile /tmp/password --auth scram-sha-256 \
        --encoding UTF8 --locale C.UTF-8 --data-checksums --no-instructions
    echo 'host all all all scram-sha-256' >>"$PGDATA.partial/pg_hba.conf"
    echo "CREATE DATABASE $role" | postgres --single -D "$PGDATA.partial" postgres >/dev/null
    mv "$PGDATA.partial" "$PGDATA"
    exit
fi

literal=$(printf '%s' "$POSTGRES_PASSWORD" | sed "s/'/''/g")
printf "ALTER ROLE %s PASSWORD '%s'\n" "$role" "$literal" | postgres --single -D "$PGDATA" postgres >/dev/null
