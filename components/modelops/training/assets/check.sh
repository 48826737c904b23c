# Before a training: is there anything to train? The verdict is one line in a file, read by train.sh, whose container's
# words are shown when a Job fails; those of an init container are not. So this one always ends well.
checked=${MODELOPS_WORK:-/modelops}/checked
if ! command -v python3 >/dev/null; then
    echo "the publisher's image has no python3: whether this run is published already is not looked up"
    exit 0
fi
trap 'exit 143' TERM INT
python3 -c "$1" >"$checked.new" &
checking=$!
trap 'kill -TERM "$checking" 2>/dev/null; exit 143' TERM INT
wait "$checking" && mv "$checked.new" "$checked"
exit 0
