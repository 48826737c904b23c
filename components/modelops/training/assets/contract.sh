# What both containers of a training pod agree on; it stands before their own scripts, in the same shell.
# MODELOPS_FOLDER is where this run's files are: on the checkpoint volume where there is one, else as long as the pod.
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
# Of several workers only the first one's results count; the others' must not lie in their way.
[ "$index" = 0 ] || MODELOPS_OUTPUT_DIR=$work/output
export MODELOPS_WORKER_INDEX MODELOPS_CHECKPOINT_DIR MODELOPS_OUTPUT_DIR
trained=$folder/trained
