# Runs the training command and tells the publisher, in the container beside this one, how it ended.
# The open pipe is the link: it closes with this container however that ends, out-of-memory kills included.
set -u
mkdir -p /modelops/output /modelops/checkpoints
mkfifo /modelops/ended 2>/dev/null || true
exec 9>/modelops/ended

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

echo "$code" >&9
exit "$code"
