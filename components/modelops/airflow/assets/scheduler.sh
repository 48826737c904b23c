# Runs Airflow's scheduler once the API server beside it answers: a task that starts earlier fails and uses up a try.
set -eu
until python3 -c 'import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=10)' "$API/api/v2/version" 2>/dev/null; do
    sleep 1
done
exec airflow scheduler
