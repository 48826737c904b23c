"""The pod of a training run: the training container and, beside it, the publisher that waits for its end.

Both are ordinary containers, not an init container and a main one: the official Kubernetes provider's error for a
failed Job shows the last log lines of ordinary containers only, and those of a failed training are what one needs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from modelops._assets import asset
from modelops._pods import (
    Sizes,
    container,
    core,
    mount,
    pull_secrets,
    resource_requirements,
    restricted_pod,
    scratch,
)
from modelops._run_id import canonical_json
from modelops._types import Resources

WRONG_CONFIGURATION = 2
GATE_NOT_MET = 3
"""Exit codes after which another try would end the same."""
TRAINING_SIZES = Sizes(cpu="500m", memory="1Gi", memory_limit="2Gi")
PUBLISHER_SIZES = Sizes(cpu="50m", memory="256Mi", memory_limit="1Gi")
CHECKPOINT_SECONDS = 60
"""How long a training may take to write its checkpoint after SIGTERM."""
_FOLDER = "/modelops"


@dataclass(frozen=True)
class Pod:
    """What a training pod is made from; the fields are those of TrainingJobArgs with their defaults filled in."""

    run_id: pulumi.Output[str]
    model_name: pulumi.Input[str]
    framework: str
    image: pulumi.Input[str]
    command: pulumi.Input[Sequence[pulumi.Input[str]]]
    publish_image: pulumi.Input[str]
    publish_command: pulumi.Input[Sequence[pulumi.Input[str]]]
    parameters: pulumi.Input[Mapping[str, pulumi.Input[Any]]]
    gate: Mapping[str, Any]
    data_uri: pulumi.Input[str]
    data_version: pulumi.Input[str]
    tracking_uri: pulumi.Input[str]
    experiment_name: pulumi.Input[str]
    resources: Resources | None
    service_account: pulumi.Input[str]
    image_pull_secret: pulumi.Input[str] | None


def pod_spec(pod: Pod) -> core.PodSpecArgs:
    """The pod, ready for a Job's template."""
    return core.PodSpecArgs(
        restart_policy="Never",
        service_account_name=pod.service_account,
        automount_service_account_token=False,
        enable_service_links=False,
        termination_grace_period_seconds=CHECKPOINT_SECONDS,
        security_context=restricted_pod(),
        image_pull_secrets=pull_secrets(pod.image_pull_secret),
        volumes=[scratch("work"), scratch("tmp")],
        containers=[
            _container("train", pod.image, pod.command, _train_environment(pod), pod.resources, TRAINING_SIZES),
            _container(
                "publish", pod.publish_image, pod.publish_command, _publish_environment(pod), None, PUBLISHER_SIZES
            ),
        ],
    )


def failure_policy(retries: int) -> k8s.batch.v1.PodFailurePolicyArgs:
    """Disrupted pods don't count as failures; hopeless exit codes end the Job at once.

    Without retries any failure ends the Job, and the rule for hopeless codes is left out: the official provider
    notices a Job that the rule ended only when its own timeout is over, a Job without retries at once.
    """
    rules = [
        k8s.batch.v1.PodFailurePolicyRuleArgs(
            action="Ignore",
            on_pod_conditions=[
                k8s.batch.v1.PodFailurePolicyOnPodConditionsPatternArgs(type="DisruptionTarget", status="True")
            ],
        )
    ]
    if retries > 0:
        codes = k8s.batch.v1.PodFailurePolicyOnExitCodesRequirementArgs(
            operator="In", values=[WRONG_CONFIGURATION, GATE_NOT_MET]
        )
        rules.insert(0, k8s.batch.v1.PodFailurePolicyRuleArgs(action="FailJob", on_exit_codes=codes))
    return k8s.batch.v1.PodFailurePolicyArgs(rules=rules)


def _container(
    name: str,
    image: pulumi.Input[str],
    command: pulumi.Input[Sequence[pulumi.Input[str]]],
    variables: Mapping[str, pulumi.Input[str]],
    resources: Resources | None,
    sizes: Sizes,
) -> core.ContainerArgs:
    wrapped = pulumi.Output.from_input(command).apply(
        lambda words: ["/bin/sh", "-c", asset(f"training/{name}.sh"), name, *words]
    )
    return container(
        name,
        image,
        variables=variables,
        command=wrapped,
        resources=resource_requirements(resources, sizes),
        volume_mounts=[mount("work", _FOLDER), mount("tmp", "/tmp")],
    )


def _train_environment(pod: Pod) -> dict[str, pulumi.Input[str]]:
    return {
        "MODELOPS_RUN_ID": pod.run_id,
        "MODELOPS_MODEL_NAME": pod.model_name,
        "MODELOPS_FRAMEWORK": pod.framework,
        "MODELOPS_PARAMETERS": pulumi.Output.from_input(pod.parameters).apply(canonical_json),
        "MODELOPS_DATA_URI": pod.data_uri,
        "MODELOPS_DATA_VERSION": pod.data_version,
        "MODELOPS_OUTPUT_DIR": f"{_FOLDER}/output",
        "MODELOPS_CHECKPOINT_DIR": f"{_FOLDER}/checkpoints",
        "MLFLOW_TRACKING_URI": pod.tracking_uri,
        "MLFLOW_EXPERIMENT_NAME": pod.experiment_name,
    }


def _publish_environment(pod: Pod) -> dict[str, pulumi.Input[str]]:
    return {
        **_train_environment(pod),
        "MODELOPS_GATE": pulumi.Output.from_input(pod.gate).apply(canonical_json),
        "MODELOPS_ALIAS": pulumi.Output.concat("run-", pod.run_id),
        "MODELOPS_IMAGE": pod.image,
    }
