# Waits until the training in the container beside this one has ended, then publishes its model.
# The pipe closes without a code when that container was killed: then there is nothing to trust, and nothing is published.
set -u
mkfifo /modelops/ended 2>/dev/null || true
# In the background, because a shell runs its traps only between commands, and while it waits for a child.
trap 'exit 143' TERM INT
cat /modelops/ended >/tmp/training-code &
wait $!
code=$(cat /tmp/training-code)

if [ "$code" != 0 ]; then
    echo "the training ended with ${code:-no exit code (it was killed)}: nothing is published" >&2
    exit "${code:-1}"
fi
exec "$@"
