# Fails while lines are waiting and none was taken since the last time this was asked, whatever the reason.
set -eu
seen=/tmp/acknowledged
stats=$(curl -sf -m 5 http://localhost:5066/stats)
acknowledged=$(printf %s "$stats" | sed -n 's/.*"output":{[^}]*"acked":\([0-9]*\).*/\1/p')
waiting=$(printf %s "$stats" | sed -n 's/.*"pipeline":{"clients":[0-9]*,"events":{"active":\([0-9]*\).*/\1/p')
last=$(cat "$seen" 2>/dev/null || echo none)
echo "$acknowledged" > "$seen"
if [ "${waiting:-0}" -gt 0 ] && [ "$acknowledged" = "$last" ]; then
  echo "$waiting lines wait, none was taken since the last probe"
  exit 1
fi
