# Waits for the training in the other container to end, then publishes its model.
# If that container is killed, the pipe closes without an exit code, and nothing is published.
# Only the first of several workers publishes.
[ "$index" = 0 ] || exit 0
mkfifo "$work/ended" 2>/dev/null || true
MODELOPS_TRAINING_CODE=${TMPDIR:-/tmp}/training-code
export MODELOPS_TRAINING_CODE
watch_pid=
if [ -n "${MODELOPS_WATCH:-}" ]; then
    # Shows the training's progress in the registry; its own failure is ignored.
    $MODELOPS_WATCH &
    watch_pid=$!
fi
stop_watching() {
    [ -z "$watch_pid" ] || { kill -TERM "$watch_pid"; wait "$watch_pid"; } 2>/dev/null
    watch_pid=
}
# In the background, because a shell runs traps only between commands and during `wait`.
trap 'stop_watching; exit 143' TERM INT
cat "$work/ended" >"$MODELOPS_TRAINING_CODE" &
wait $!
code=$(cat "$MODELOPS_TRAINING_CODE")
stop_watching

if [ "$code" != 0 ]; then
    echo "training failed (exit code ${code:-unknown, it was killed}): publishing skipped" >&2
    exit "${code:-1}"
fi

# Retries an unreachable registry here, where the trained model is, instead of training again.
retries=${MODELOPS_PUBLISH_RETRIES:-0}
while :; do
    "$@" &
    publish_pid=$!
    trap 'kill -TERM "$publish_pid" 2>/dev/null' TERM INT
    wait "$publish_pid"
    code=$?
    while kill -0 "$publish_pid" 2>/dev/null; do
        wait "$publish_pid"
        code=$?
    done
    [ "$code" = 1 ] && [ "$retries" -gt 0 ] || break
    retries=$((retries - 1))
    echo "publishing failed, retrying in ${MODELOPS_PUBLISH_PAUSE_SECONDS:-10} s" >&2
    sleep "${MODELOPS_PUBLISH_PAUSE_SECONDS:-10}" &
    trap 'exit 143' TERM INT
    wait $!
done

case $code in
0)
    # The registry now has everything.
    [ "${MODELOPS_DELETE_CHECKPOINTS:-false}" != true ] || rm -rf "$folder"
    ;;
1)
    # Without a volume the model is lost, and the other workers have completed and can't start again: a retry is futile.
    [ "$MODELOPS_WORKERS" = 1 ] || [ "$folder" != "$work" ] || code=4
    ;;
esac
exit "$code"
