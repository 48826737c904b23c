"""Jobs that work on the registry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from modelops.core.outputs import merged, plain_or, timeouts
from modelops.kubernetes.labels import selector, standard_labels
from modelops.kubernetes.pods import PATIENCE_SECONDS, core, pod_template
from modelops.kubernetes.start_watch import watched_options

batch = k8s.batch.v1


def registry_job(
    job: str,
    kind: str,
    instance: str,
    namespace: pulumi.Input[str],
    container: core.ContainerArgs,
    volumes: Sequence[core.VolumeArgs],
    opts: pulumi.ResourceOptions,
    *,
    account: pulumi.Input[str],
    first: pulumi.Resource,
    args: Mapping[str, Any],
    deadline_seconds: pulumi.Input[int],
    longest: int,
) -> batch.Job:
    """A Job with a generated name and one pod, scheduled as the component's `args` say. It fails early if that can't
    start.

    The next `pulumi up` runs a failed one again. `first` is something that the component has made. `longest` is how
    long the deadline may be if an output decides it.
    """
    labels = standard_labels(kind, kind, instance)
    template = pod_template(labels, account, [container], args, restart_policy="Never", volumes=volumes)
    pods: Any = container
    watched = watched_options(
        job, selector(kind, instance), template, args, opts, first=first, image=pods.image, seconds=deadline_seconds
    )
    return batch.Job(
        job,
        metadata=k8s.meta.v1.ObjectMetaArgs(
            namespace=namespace, labels=labels, annotations={"pulumi.com/replaceUnready": "true"}
        ),
        spec=batch.JobSpecArgs(backoff_limit=0, active_deadline_seconds=deadline_seconds, template=template),
        opts=merged(watched, custom_timeouts=timeouts(plain_or(deadline_seconds, longest) + PATIENCE_SECONDS)),
    )
