"""The smoke test: a Job that runs the new version in a pod behind no Service, with a check beside it.

The track's Deployment waits for the Job, so a wrong answer fails `pulumi up` before any pod is replaced.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from modelops.core.assets import asset
from modelops.core.naming import job_name
from modelops.core.outputs import merged, timeouts
from modelops.core.run_id import canonical_json
from modelops.kubernetes.pods import (
    DefaultResources,
    container,
    core,
    mount,
    resource_requirements,
    restricted_pod,
)
from modelops.kubernetes.watch import UNAWAITED
from modelops.serving import vllm
from modelops.serving.args import (
    DEFAULT_MAX_TOKENS,
    DEFAULT_TOLERANCE,
    ModelServiceArgs,
    is_vllm,
    is_watched,
    longest_startup,
    runtime_image,
    startup_seconds,
)
from modelops.serving.deadlines import longest_progress, progress_seconds
from modelops.serving.pod import (
    CHAT_PATH,
    PORT,
    PREDICT_PATH,
    PodIdentity,
    fetch,
    hold,
    name_of_model,
    serve,
    serving_template,
    volumes,
)
from modelops.serving.watch import watch

ROLE = "smoke"
DEFAULT_RESOURCES = DefaultResources(cpu="20m", memory="64Mi", memory_limit="128Mi")
CHECK_SECONDS = 60
PROMPT_SECONDS = 120
"""How long the answer to each prompt may take; the check waits no longer."""
MARGIN_SECONDS = 30
"""How much longer Pulumi waits than Kubernetes lets the Job run, so that the error comes from Kubernetes."""


def smoke_test(
    name: str,
    args: ModelServiceArgs,
    identity: PodIdentity,
    metadata: k8s.meta.v1.ObjectMetaArgs,
    opts: pulumi.ResourceOptions,
) -> k8s.batch.v1.Job:
    """What is done once the test passed: the watch of its Job, or the Job itself where there is no watch.

    Pulumi names the Job, since a changed version, image or test makes a new one.
    """
    watched = is_watched(args)
    check = CHECK_SECONDS + PROMPT_SECONDS * len(args["smoke_test"].get("prompts", ()))
    # Its pod may be the first one that pulls the images, or that needs a node.
    waits = pulumi.Output.all(progress_seconds(args), startup_seconds(args))
    deadline = waits.apply(lambda seconds: max(map(int, seconds)) + check)
    longest = max(longest_progress(args), longest_startup(args)) + check + MARGIN_SECONDS
    identity = replace(identity, role=ROLE, live=False)
    job = k8s.batch.v1.Job(
        job_name(f"{name}-{ROLE}"),
        metadata=k8s.meta.v1.ObjectMetaArgs(
            namespace=metadata.namespace,
            labels=metadata.labels,
            # The next `pulumi up` runs a failed test again, as a new Job.
            annotations={"pulumi.com/replaceUnready": "true", **(UNAWAITED if watched else {})},
        ),
        spec=k8s.batch.v1.JobSpecArgs(
            backoff_limit=0, active_deadline_seconds=deadline, template=_template(args, identity)
        ),
        opts=merged(opts, custom_timeouts=timeouts(longest)),
    )
    return watch(job, f"{name}-{ROLE}", args, deadline, longest, opts) if watched else job


def _template(args: ModelServiceArgs, identity: PodIdentity) -> core.PodTemplateSpecArgs:
    """The server is a sidecar: it starts first, the check waits until it is ready, and it stops with the check."""
    if is_vllm(args):
        return serving_template(
            args,
            identity,
            [_check(args)],
            restart_policy="Never",
            security=restricted_pod(vllm.USER, vllm.GROUP),
            volumes=vllm.volumes(args, identity),
            init_containers=[
                *vllm.init_containers(args, identity),
                vllm.server(args, identity, drains=False, restart_policy="Always"),
            ],
        )
    cached = identity.cache_claim is not None
    return serving_template(
        args,
        identity,
        [_check(args)],
        restart_policy="Never",
        volumes=volumes(args, identity),
        init_containers=[
            fetch(args, identity),
            *hold(args, identity),
            serve(args, cached=cached, drains=False, restart_policy="Always"),
        ],
    )


def _check(args: ModelServiceArgs) -> core.ContainerArgs:
    test, keys = args["smoke_test"], vllm.keys(args) if is_vllm(args) else None
    case: dict[str, Any]
    if is_vllm(args):
        usual = {"model": name_of_model(args), "max_tokens": DEFAULT_MAX_TOKENS}
        case = {"prompts": [{**usual, **prompt} for prompt in test["prompts"]]}
    else:
        tolerance = test.get("tolerance", DEFAULT_TOLERANCE)
        case = {"inputs": test["inputs"], "outputs": test["outputs"], "tolerance": tolerance}
    return container(
        "check",
        test.get("image", runtime_image(args)),
        variables={
            "MODELOPS_SMOKE_TEST": pulumi.Output.from_input(case).apply(canonical_json),
            "MODELOPS_SMOKE_URL": f"http://127.0.0.1:{PORT}{CHAT_PATH if is_vllm(args) else PREDICT_PATH}",
            **({} if keys is None else {"MODELOPS_API_KEYS_DIR": keys.mount_path}),
        },
        command=["python3", "-c", asset("serving/assets/smoke_test.py")],
        resources=resource_requirements(args.get("helper_resources"), DEFAULT_RESOURCES),
        volume_mounts=[mount("tmp", "/tmp"), *([] if keys is None else [keys])],
    )
