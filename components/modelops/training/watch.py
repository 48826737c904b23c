"""The watch of a run's start: it fails a Job whose pods can't start, instead of letting it wait for its deadline.

A run that Pulumi doesn't wait for it follows to its end, which it records for the next `pulumi up`.

Pulumi waits for the training's Job as without a watch, and for the watch not at all: if that is evicted or can't start
itself, nothing is lost but the early end.
"""

from __future__ import annotations

from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from modelops.core.images import UPSTREAM_IMAGES
from modelops.core.outputs import short_hash, whole
from modelops.core.run_id import canonical_json
from modelops.kubernetes.placement import anywhere
from modelops.kubernetes.pods import as_document
from modelops.kubernetes.watch import watch_job
from modelops.training.args import Backend, TrainingJobArgs
from modelops.training.job_spec import DEFAULT_QUEUE_TIMEOUT_SECONDS, DEFAULT_TIMEOUT_SECONDS, batch, is_awaited
from modelops.training.pod import Run

DEFAULT_SCHEDULING_TIMEOUT_SECONDS = 600
_PROGRAM = "training-watch"


def is_watched(args: TrainingJobArgs) -> bool:
    """Whether a Job watches the start of the run: where one can end it, in an image that the run needs anyway."""
    own_image_only = "command" in (args.get("publisher") or {}) and "runtime_image" not in args
    return args.get("watch", True) and args.get("backend", Backend.JOB) is Backend.JOB and not own_image_only


def watch(run: Run, spec: batch.JobSpecArgs, opts: pulumi.ResourceOptions) -> k8s.batch.v1.Job:
    """The Job `<name>-watch`, which has to be there before the Job with that `spec`."""
    args, rule = run.args, k8s.rbac.v1.PolicyRuleArgs
    record = rule(api_groups=[""], resources=["configmaps"], resource_names=[run.report.config_map], verbs=["patch"])
    settings = {
        **({"kind": "Start"} if is_awaited(args) else _recording(run)),
        "labels": run.selector(),
        "unscheduled_seconds": whole(args.get("scheduling_timeout_seconds", DEFAULT_SCHEDULING_TIMEOUT_SECONDS)),
        # Whatever makes another Job makes another watch.
        "pod": pulumi.Output.from_input(spec.template).apply(_hash),
    }
    return watch_job(
        run.name,
        _PROGRAM,
        settings,
        [
            rule(api_groups=["batch"], resources=["jobs"], verbs=["get", "list", "patch"]),
            *([] if is_awaited(args) else [record]),
        ],
        # The training may be meant for a node that isn't there.
        anywhere(args),
        opts,
        image=args.get("runtime_image", UPSTREAM_IMAGES["mlflow"]),
        seconds=whole(args.get("timeout_seconds", DEFAULT_TIMEOUT_SECONDS)).apply(
            lambda seconds: seconds + args.get("queue_timeout_seconds", DEFAULT_QUEUE_TIMEOUT_SECONDS)
        ),
        longest=None,
        # One that records goes on from `up` to `up`; a failed run's new Job gets a new one, for its pods are others.
        again=is_awaited(args),
    )


def _recording(run: Run) -> dict[str, Any]:
    """The settings of a watch that follows the run to its end, and records it."""
    return {"kind": "Run", "run": run.run_id, "record": run.report.config_map}


def _hash(template: Any) -> str:
    return short_hash(canonical_json(as_document(template)))
