# Runs the training command and tells the publisher, in the container beside this one, how it ended.
# The open pipe is the link: it closes with this container however that ends, out-of-memory kills included.
# Only the first of several workers has a publisher that waits.
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
    echo "$reason: nothing is trained"
    finish 0
    ;;
*)
    echo "error: $reason: nothing is trained" >&2
    finish "$verdict"
    ;;
esac
if [ -f "$trained" ]; then
    echo "trained already, by a pod before this one: the model is taken as it is"
    finish 0
fi
if [ "$verdict" = alone ] && [ "$index" != 0 ]; then
    echo "$reason: the first one has the model, and nothing is trained"
    finish 0
elif [ "$verdict" = alone ]; then
    echo "error: $reason, and what was trained went with it: nothing is trained; checkpoints on a volume keep it" >&2
    finish 4
fi

rm -rf "$MODELOPS_OUTPUT_DIR"
mkdir -p "$MODELOPS_OUTPUT_DIR" "$MODELOPS_CHECKPOINT_DIR"

if [ -n "${DMLC_PS_ROOT_URI:-}" ]; then
    # MXNet's parameter servers and their scheduler are the same program in another role; they end with this container.
    [ "$index" != 0 ] || DMLC_ROLE=scheduler "$@" 9>&- &
    DMLC_ROLE=server "$@" 9>&- &
fi

"$@" 9>&- &
training=$!
trap 'kill -TERM "$training" 2>/dev/null' TERM INT
wait "$training"
code=$?
# A trapped signal ends `wait` early; the training is then still writing its checkpoint.
while kill -0 "$training" 2>/dev/null; do
    wait "$training"
    code=$?
done

if [ "$code" = 0 ] && [ "$index" = 0 ]; then
    : >"$trained"
fi
finish "$code"
