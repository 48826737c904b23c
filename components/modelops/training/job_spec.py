"""The specs of a training's Jobs."""

from __future__ import annotations

import pulumi
import pulumi_kubernetes as k8s

from modelops.core.outputs import whole
from modelops.kubernetes.jobs import STOPPED, failure_policy
from modelops.kubernetes.pods import core
from modelops.training.args import TrainingJobArgs
from modelops.training.pod import Run, select_template, template

DEFAULT_RETRIES = 0
DEFAULT_TIMEOUT_SECONDS = 3600
DEFAULT_QUEUE_TIMEOUT_SECONDS = 86_400
WRONG_CONFIGURATION = 2
GATE_NOT_MET = 3
PEERS_GONE = 4
FINAL = (WRONG_CONFIGURATION, GATE_NOT_MET, PEERS_GONE)
"""Exit codes that a retry would not change."""
LOST_PEER = 75

batch = k8s.batch.v1


def starts_suspended(args: TrainingJobArgs) -> bool:
    """Whether the run is created suspended, for somebody else to start."""
    return bool(args.get("suspend")) or "queue" in args


def is_awaited(args: TrainingJobArgs) -> bool:
    """Whether `pulumi up` waits for the run."""
    return args.get("wait", True)


def job_spec(run: Run, *, alone: bool = True) -> batch.JobSpecArgs:
    """The run as a Job: one pod, or one per worker, or one per run of a sweep.

    A Job that is not `alone` is part of an object that is suspended and removed as a whole.
    """
    args = run.args
    retries = args.get("retries", DEFAULT_RETRIES)
    pod, count = template(run), len(run.trials) or run.workers
    parallel = whole(args.get("sweep_parallelism", count)).apply(lambda at_once: min(count, at_once))
    indexed = bool(run.trials) or run.workers > 1
    # Once the first worker is done, the model is published and the others have nothing left to do.
    first_worker = batch.SuccessPolicyArgs(rules=[batch.SuccessPolicyRuleArgs(succeeded_indexes="0")])
    return batch.JobSpecArgs(
        backoff_limit=retries,
        active_deadline_seconds=args.get("timeout_seconds", DEFAULT_TIMEOUT_SECONDS),
        pod_failure_policy=_failure_policy(pod, retries),
        ttl_seconds_after_finished=args.get("ttl_seconds_after_finished") if alone else None,
        suspend=True if alone and starts_suspended(args) else None,
        completion_mode="Indexed" if indexed else None,
        completions=count if indexed else None,
        parallelism=parallel if indexed else None,
        success_policy=first_worker if run.workers > 1 else None,
        template=pod,
    )


def select_spec(run: Run, sweep: pulumi.Resource) -> batch.JobSpecArgs:
    """The Job that registers the best run of `sweep`."""
    args = run.args
    pod, retries = select_template(run, sweep), args.get("retries", DEFAULT_RETRIES)
    return batch.JobSpecArgs(
        backoff_limit=retries,
        active_deadline_seconds=args.get("timeout_seconds", DEFAULT_TIMEOUT_SECONDS),
        pod_failure_policy=_failure_policy(pod, retries),
        ttl_seconds_after_finished=args.get("ttl_seconds_after_finished"),
        template=pod,
    )


def _failure_policy(
    pod: core.PodTemplateSpecArgs, retries: pulumi.Input[int]
) -> pulumi.Output[batch.PodFailurePolicyArgs]:
    """Replaces a pod that lost a peer without counting it; without retries every other failure is final anyway."""
    return pulumi.Output.from_input(retries).apply(
        lambda count: failure_policy(pod, final=FINAL if count > 0 else (), uncounted=(LOST_PEER, STOPPED))
    )
