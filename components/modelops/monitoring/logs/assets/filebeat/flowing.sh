# Fails once lines have arrived but none has been acknowledged since the last call, until one is, whatever the cause.
set -eu
state=/tmp/flow
stats=$(curl -sf -m 5 http://localhost:5066/stats)
acked=$(printf %s "$stats" | sed -n 's/.*"output":{"events":{"acked":\([0-9]*\).*/\1/p')
published=$(printf %s "$stats" | sed -n 's/.*"pipeline":{[^}]*"published":\([0-9]*\).*/\1/p')
acked=${acked:-0} published=${published:-0}
read -r last_acked last_published stalled < "$state" 2>/dev/null || { last_acked=-1 last_published=0 stalled=no; }
if [ "$acked" != "$last_acked" ]; then
  stalled=no
elif [ "$published" -gt "$last_published" ]; then
  stalled=yes
fi
echo "$acked $published $stalled" > "$state"
if [ "$stalled" = yes ]; then
  echo "lines are arriving but none was acknowledged since the last probe"
  exit 1
fi
