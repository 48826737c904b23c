# Sets the variables in which each framework expects its peers, as its own launcher would. Runs after contract.sh.
# Only the pod knows the Job's name; `<job>-<index>` is a worker's host name, under the headless Service.
hosts= addresses=
if [ "$MODELOPS_WORKERS" -gt 1 ]; then
    peer=0
    while [ "$peer" -lt "$MODELOPS_WORKERS" ]; do
        host=$MODELOPS_JOB_NAME-$peer.$MODELOPS_SERVICE
        hosts=${hosts:+$hosts,}$host
        addresses=${addresses:+$addresses,}\"$host:2222\"
        peer=$((peer + 1))
    done
fi
MODELOPS_WORKER_HOSTS=${hosts:-localhost}
export MODELOPS_WORKER_HOSTS

case $MODELOPS_WORKERS/$MODELOPS_FRAMEWORK in
1/pytorch)
    export PET_NPROC_PER_NODE="${MODELOPS_PROCESSES_PER_WORKER:-1}"
    ;;
1/*) ;;
*/tensorflow)
    export TF_CONFIG="{\"cluster\":{\"worker\":[$addresses]},\"task\":{\"type\":\"worker\",\"index\":$index}}"
    ;;
*/pytorch)
    export MASTER_ADDR="${hosts%%,*}" MASTER_PORT=29500
    export PET_MASTER_ADDR="$MASTER_ADDR" PET_MASTER_PORT="$MASTER_PORT"
    export PET_NNODES="$MODELOPS_WORKERS" PET_NODE_RANK="$index"
    export PET_NPROC_PER_NODE="${MODELOPS_PROCESSES_PER_WORKER:-1}"
    # With several processes per worker, torchrun assigns the ranks.
    if [ "$PET_NPROC_PER_NODE" = 1 ]; then
        export WORLD_SIZE="$MODELOPS_WORKERS" RANK="$index" LOCAL_RANK=0
    fi
    ;;
*/mxnet)
    # DMLC_USE_KUBERNETES: the scheduler listens on every address, not only on its host name's.
    export DMLC_PS_ROOT_URI="${hosts%%,*}" DMLC_PS_ROOT_PORT=9091 DMLC_USE_KUBERNETES=1
    export DMLC_NUM_WORKER="$MODELOPS_WORKERS" DMLC_NUM_SERVER="$MODELOPS_WORKERS" DMLC_WORKER_ID="$index"
    export DMLC_ROLE=worker
    ;;
esac
