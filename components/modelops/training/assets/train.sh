# Runs the training command and passes its exit code to the publisher in the other container.
# They share a pipe, which closes with this container however it ends, even when it runs out of memory.
# Only the first of several workers has a publisher.
trap 'exit 143' TERM INT
if [ "$index" = 0 ]; then
    mkfifo "$work/ended" 2>/dev/null || true
    exec 9>"$work/ended"
else
    exec 9>/dev/null
fi
finish() {
    echo "$1" >&9
    exit "$1"
}

verdict=train reason=
# Written by check.py before this container started.
[ ! -f "$work/checked" ] || read -r verdict reason <"$work/checked"
case $verdict in
train | alone) ;;
published)
    echo "$reason: training skipped"
    finish 0
    ;;
*)
    echo "error: $reason: training skipped" >&2
    finish "$verdict"
    ;;
esac
if [ -f "$trained_marker" ]; then
    echo "already trained by an earlier pod: training skipped"
    finish 0
fi
if [ "$verdict" = alone ] && [ "$index" != 0 ]; then
    echo "$reason, and worker 0 has the model: training skipped"
    finish 0
elif [ "$verdict" = alone ]; then
    echo "error: $reason, and its model was lost with it: training skipped; a volume for checkpoints prevents this" >&2
    finish 4
fi

rm -rf "$MODELOPS_OUTPUT_DIR"
mkdir -p "$MODELOPS_OUTPUT_DIR" "$MODELOPS_CHECKPOINT_DIR"

if [ -n "${DMLC_PS_ROOT_URI:-}" ]; then
    # MXNet's scheduler and parameter servers run the same program in other roles; they end with this container.
    [ "$index" != 0 ] || DMLC_ROLE=scheduler "$@" 9>&- &
    DMLC_ROLE=server "$@" 9>&- &
fi

"$@" 9>&- &
train_pid=$!
trap 'kill -TERM "$train_pid" 2>/dev/null' TERM INT
wait "$train_pid"
code=$?
# A trapped signal ends `wait` early, while the training still writes its checkpoint.
while kill -0 "$train_pid" 2>/dev/null; do
    wait "$train_pid"
    code=$?
done

if [ "$code" = 0 ] && [ "$index" = 0 ]; then
    : >"$trained_marker"
fi
finish "$code"
