# Fails once lines have arrived but none was acknowledged since the last call, until one is, whatever the cause.
set -eu
seen=/tmp/flow
stats=$(curl -sf -m 5 http://localhost:5066/stats)
taken=$(printf %s "$stats" | sed -n 's/.*"output":{"events":{"acked":\([0-9]*\).*/\1/p')
come=$(printf %s "$stats" | sed -n 's/.*"pipeline":{[^}]*"published":\([0-9]*\).*/\1/p')
taken=${taken:-0} come=${come:-0}
read -r last_taken last_come stalled < "$seen" 2>/dev/null || { last_taken=-1 last_come=0 stalled=no; }
if [ "$taken" != "$last_taken" ]; then
  stalled=no
elif [ "$come" -gt "$last_come" ]; then
  stalled=yes
fi
echo "$taken $come $stalled" > "$seen"
if [ "$stalled" = yes ]; then
  echo "lines are arriving but none was acknowledged since the last probe"
  exit 1
fi
