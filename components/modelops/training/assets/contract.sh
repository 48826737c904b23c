# What both containers of a training pod share: runs before their own scripts, in the same shell.
# MODELOPS_FOLDER holds this run's files: on the checkpoint volume if there is one, otherwise only as long as the pod.
set -u
work=${MODELOPS_WORK:-/modelops}
folder=$MODELOPS_FOLDER
index=0

if [ -n "${MODELOPS_SWEEP_RUNS:-}" ]; then
    # Each pod is a run of its own.
    MODELOPS_SWEEP_INDEX=$JOB_COMPLETION_INDEX
    eval "MODELOPS_PARAMETERS=\$MODELOPS_PARAMETERS_$JOB_COMPLETION_INDEX"
    export MODELOPS_SWEEP_INDEX MODELOPS_PARAMETERS
    folder=$folder/$JOB_COMPLETION_INDEX
elif [ "$MODELOPS_WORKERS" -gt 1 ]; then
    index=$JOB_COMPLETION_INDEX
fi

MODELOPS_WORKER_INDEX=$index
MODELOPS_CHECKPOINT_DIR=$folder/checkpoints
MODELOPS_OUTPUT_DIR=$folder/output
# Only the first worker's output is published; the others' must not overwrite it.
[ "$index" = 0 ] || MODELOPS_OUTPUT_DIR=$work/output
export MODELOPS_WORKER_INDEX MODELOPS_CHECKPOINT_DIR MODELOPS_OUTPUT_DIR
trained_marker=$folder/trained
