# Waits until the training in the container beside this one has ended, then publishes its model.
# The pipe closes without a code when that container was killed: then there is nothing to trust, and nothing is published.
# Of several workers only the first one publishes.
[ "$index" = 0 ] || exit 0
mkfifo "$work/ended" 2>/dev/null || true
MODELOPS_TRAINING_CODE=${TMPDIR:-/tmp}/training-code
export MODELOPS_TRAINING_CODE
watcher=
if [ -n "${MODELOPS_WATCH:-}" ]; then
    # Shows the training in the registry while it goes on; how that ends makes no difference here.
    $MODELOPS_WATCH &
    watcher=$!
fi
stop_watching() {
    [ -z "$watcher" ] || { kill -TERM "$watcher"; wait "$watcher"; } 2>/dev/null
    watcher=
}
# In the background, because a shell runs its traps only between commands, and while it waits for a child.
trap 'stop_watching; exit 143' TERM INT
cat "$work/ended" >"$MODELOPS_TRAINING_CODE" &
wait $!
code=$(cat "$MODELOPS_TRAINING_CODE")
stop_watching

if [ "$code" != 0 ]; then
    echo "the training ended with ${code:-no exit code (it was killed)}: nothing is published" >&2
    exit "${code:-1}"
fi

# A registry that can't be reached is tried again here, where the trained model is, and not by training anew.
tries=${MODELOPS_PUBLISH_RETRIES:-0}
while :; do
    "$@" &
    publishing=$!
    trap 'kill -TERM "$publishing" 2>/dev/null' TERM INT
    wait "$publishing"
    code=$?
    while kill -0 "$publishing" 2>/dev/null; do
        wait "$publishing"
        code=$?
    done
    [ "$code" = 1 ] && [ "$tries" -gt 0 ] || break
    tries=$((tries - 1))
    echo "publishing failed, it is tried again in ${MODELOPS_PUBLISH_PAUSE_SECONDS:-10} s" >&2
    sleep "${MODELOPS_PUBLISH_PAUSE_SECONDS:-10}" &
    trap 'exit 143' TERM INT
    wait $!
done

case $code in
0)
    # The registry has it all now.
    [ "${MODELOPS_DELETE_CHECKPOINTS:-false}" != true ] || rm -rf "$folder"
    ;;
1)
    # The other workers are done and can't be started again for this one alone; a volume would have kept the model.
    [ "$MODELOPS_WORKERS" = 1 ] || [ "$folder" != "$work" ] || code=4
    ;;
esac
exit "$code"
