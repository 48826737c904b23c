"""Building blocks of the library's pods: security profile, resources, containers, variables, volumes, probes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_kubernetes as k8s
from pulumi import _types

from modelops.core.outputs import is_output, text_of
from modelops.core.types import Resources
from modelops.core.validation import Problems
from modelops.kubernetes.placement import pod_fields, with_pod_metadata

core = k8s.core.v1

USER_ID = 65532
"""User and group of the library's own containers, the same as in distroless and Chainguard images."""
GPU = "nvidia.com/gpu"
"""The usual resource name of GPUs."""
ACCOUNT_FOLDER = "/var/run/secrets/kubernetes.io/serviceaccount"
"""Where API clients look for the ServiceAccount's token."""
PROGRESS_SECONDS = 600
"""How long a rollout may go without progress, with the pulling of images and the adding of nodes."""
PATIENCE_SECONDS = 60
"""How much longer Pulumi waits than Kubernetes does, so that the error comes from Kubernetes."""
TERMINATION = "FallbackToLogsOnError"
"""Makes a failed container's last log lines its message, so that errors of `pulumi up` can show them."""


@dataclass(frozen=True)
class DefaultResources:
    """Default resources of a container."""

    cpu: str
    memory: str
    memory_limit: str


def check_resources(problems: Problems, field: str, resources: Any, defaults: DefaultResources) -> None:
    """Checks a `Resources` argument; `defaults` apply to what it leaves out."""
    if not isinstance(resources, Mapping):
        return
    problems.quantities(field, resources, ("cpu", "cpu_limit", "memory", "memory_limit"))
    problems.at_most(field, resources, "cpu", "cpu_limit", defaults.cpu)
    problems.at_most(field, resources, "memory", "memory_limit", defaults.memory)
    problems.number(f"{field}.gpus", resources.get("gpus"), minimum=0)
    problems.device(f"{field}.gpu_resource", resources.get("gpu_resource"))
    devices = resources.get("devices")
    for name, count in (devices if isinstance(devices, Mapping) else {}).items():
        problems.device(f"{field}.devices", name)
        problems.number(f"{field}.devices.{name}", count, minimum=1)


def resource_requirements(
    resources: Resources | None, defaults: DefaultResources, claims: Mapping[str, Any] | None = None
) -> core.ResourceRequirementsArgs:
    """Requests and limits, with defaults for what `resources` leaves out, and the claims of the pod by their names."""
    resources = resources or {}
    requests = {"cpu": resources.get("cpu", defaults.cpu), "memory": resources.get("memory", defaults.memory)}
    limits = {"memory": resources.get("memory_limit", resources.get("memory", defaults.memory_limit))}
    if "cpu_limit" in resources:
        limits["cpu"] = resources["cpu_limit"]
    if gpus := resources.get("gpus"):
        limits[resources.get("gpu_resource", GPU)] = text_of(gpus)
    limits |= {name: text_of(count) for name, count in resources.get("devices", {}).items()}
    return core.ResourceRequirementsArgs(
        requests=requests, limits=limits, claims=[core.ResourceClaimArgs(name=name) for name in claims or ()] or None
    )


def restricted_pod(user: int = USER_ID, group: int | None = None) -> core.PodSecurityContextArgs:
    """The pod half of Kubernetes' restricted profile. `group` defaults to the user's id."""
    return core.PodSecurityContextArgs(
        run_as_non_root=True,
        run_as_user=user,
        run_as_group=user if group is None else group,
        fs_group=user,
        fs_group_change_policy="OnRootMismatch",
        seccomp_profile=core.SeccompProfileArgs(type="RuntimeDefault"),
    )


def restricted_container(*, read_only: bool = True) -> core.SecurityContextArgs:
    """The container half of Kubernetes' restricted profile, with a read-only root file system."""
    return core.SecurityContextArgs(
        allow_privilege_escalation=False,
        read_only_root_filesystem=read_only,
        capabilities=core.CapabilitiesArgs(drop=["ALL"]),
    )


def pod_template(
    labels: Mapping[str, pulumi.Input[str]],
    account: pulumi.Input[str],
    containers: Sequence[core.ContainerArgs],
    args: Mapping[str, Any],
    *,
    annotations: pulumi.Input[Mapping[str, pulumi.Input[str]] | None] = None,
    security: core.PodSecurityContextArgs | None = None,
    token: bool = False,
    **fields: Any,
) -> core.PodTemplateSpecArgs:
    """A pod under the restricted profile; only with `token` does it get an API token.

    `args` are the component's, of which `PodArgs` apply. `fields` are further fields of PodSpecArgs.
    """
    own = {"security_context": security or restricted_pod(), "containers": containers, **fields}
    spec = core.PodSpecArgs(
        service_account_name=account,
        automount_service_account_token=token,
        enable_service_links=False,
        **pod_fields(args, labels, own),
    )
    return core.PodTemplateSpecArgs(metadata=with_pod_metadata(labels, annotations, args), spec=spec)


def single_replica(
    labels: Mapping[str, pulumi.Input[str]],
    template: core.PodTemplateSpecArgs,
    deadline_seconds: int = PROGRESS_SECONDS,
) -> k8s.apps.v1.DeploymentSpecArgs:
    """A Deployment of one pod that stops before its successor starts: both would want the same volume or task."""
    return k8s.apps.v1.DeploymentSpecArgs(
        replicas=1,
        revision_history_limit=3,
        progress_deadline_seconds=deadline_seconds,
        strategy=k8s.apps.v1.DeploymentStrategyArgs(type="Recreate"),
        selector=k8s.meta.v1.LabelSelectorArgs(match_labels=labels),
        template=template,
    )


def rolling(
    labels: Mapping[str, pulumi.Input[str]],
    template: core.PodTemplateSpecArgs,
    replicas: int,
    deadline_seconds: int = PROGRESS_SECONDS,
) -> k8s.apps.v1.DeploymentSpecArgs:
    """A Deployment of several pods, each of which is replaced once another one is ready."""
    return k8s.apps.v1.DeploymentSpecArgs(
        replicas=replicas,
        revision_history_limit=3,
        progress_deadline_seconds=deadline_seconds,
        strategy=k8s.apps.v1.DeploymentStrategyArgs(
            type="RollingUpdate",
            rolling_update=k8s.apps.v1.RollingUpdateDeploymentArgs(max_unavailable=0, max_surge=1),
        ),
        selector=k8s.meta.v1.LabelSelectorArgs(match_labels=labels),
        template=template,
    )


def container(
    name: str,
    image: pulumi.Input[str],
    *,
    variables: Mapping[str, pulumi.Input[str]],
    secrets: Sequence[core.EnvVarArgs] = (),
    **fields: Any,
) -> core.ContainerArgs:
    """A container under the restricted profile, whose last log lines become its message if it fails.

    `fields` are further fields of ContainerArgs.
    """
    fields.setdefault("security_context", restricted_container())
    return core.ContainerArgs(
        name=name,
        image=image,
        env=[*environment(variables), *secrets],
        termination_message_policy=TERMINATION,
        **fields,
    )


def environment(values: Mapping[str, pulumi.Input[str]]) -> list[core.EnvVarArgs]:
    """Environment variables in a fixed order; HOME is the writable scratch folder."""
    return [core.EnvVarArgs(name=key, value=value) for key, value in sorted({"HOME": "/tmp", **values}.items())]


def secret_variable(name: str, secret: k8s.core.v1.Secret, key: str) -> core.EnvVarArgs:
    """An environment variable whose value stays in `secret`."""
    return secret_key(name, name_of(secret), key)


def secret_key(name: str, secret: pulumi.Input[str], key: str) -> core.EnvVarArgs:
    """An environment variable whose value stays in the Secret of that name."""
    source = core.EnvVarSourceArgs(secret_key_ref=core.SecretKeySelectorArgs(name=secret, key=key))
    return core.EnvVarArgs(name=name, value_from=source)


def tracking_credentials(
    secret: pulumi.Input[str] | None, account: str = "MLFLOW_TRACKING", *, token: bool | None = None
) -> list[core.EnvVarArgs]:
    """The variables with MLflow's credentials, from a Secret with `username` and `password` or with a `token`; none
    without a Secret.

    `account` is the prefix of the variables' names; the default is the one that MLflow's clients read.
    """
    if secret is None:
        return []
    if token:
        return [secret_key(f"{account}_TOKEN", secret, "token")]
    return [
        secret_key(f"{account}_USERNAME", secret, "username"),
        secret_key(f"{account}_PASSWORD", secret, "password"),
    ]


def field_variable(name: str, path: str) -> core.EnvVarArgs:
    """An environment variable with one of the pod's own fields, such as `metadata.name`."""
    source = core.EnvVarSourceArgs(field_ref=core.ObjectFieldSelectorArgs(field_path=path))
    return core.EnvVarArgs(name=name, value_from=source)


def api_access(name: str) -> core.VolumeArgs:
    """The service account's token and the cluster's CA certificate, for the one container that mounts them."""
    token = core.ServiceAccountTokenProjectionArgs(path="token", expiration_seconds=3600)
    ca = core.ConfigMapProjectionArgs(name="kube-root-ca.crt", items=[core.KeyToPathArgs(key="ca.crt", path="ca.crt")])
    sources = [core.VolumeProjectionArgs(service_account_token=token), core.VolumeProjectionArgs(config_map=ca)]
    return core.VolumeArgs(name=name, projected=core.ProjectedVolumeSourceArgs(sources=sources))


def scratch(name: str = "tmp") -> core.VolumeArgs:
    """An empty volume that lives as long as the pod."""
    return core.VolumeArgs(name=name, empty_dir=core.EmptyDirVolumeSourceArgs())


def claimed(name: str, claim: pulumi.Input[str]) -> core.VolumeArgs:
    """The volume of a claim."""
    source = core.PersistentVolumeClaimVolumeSourceArgs(claim_name=claim)
    return core.VolumeArgs(name=name, persistent_volume_claim=source)


def from_config_map(name: str, files: k8s.core.v1.ConfigMap, paths: Mapping[str, str] | None = None) -> core.VolumeArgs:
    """The files of a ConfigMap. `paths` maps the keys to mount to their paths; default: every key, as its own path."""
    items = [core.KeyToPathArgs(key=key, path=path) for key, path in (paths or {}).items()] or None
    return core.VolumeArgs(name=name, config_map=core.ConfigMapVolumeSourceArgs(name=name_of(files), items=items))


def from_secret(name: str, secret: k8s.core.v1.Secret) -> core.VolumeArgs:
    """The files of a Secret."""
    return core.VolumeArgs(name=name, secret=core.SecretVolumeSourceArgs(secret_name=name_of(secret)))


def mount(name: str, path: str, *, read_only: bool = False, sub_path: str | None = None) -> core.VolumeMountArgs:
    """A volume mounted in a container."""
    return core.VolumeMountArgs(name=name, mount_path=path, read_only=read_only or None, sub_path=sub_path)


def http_probe(
    path: str,
    port: str,
    *,
    period: int,
    failures: pulumi.Input[int],
    timeout: int = 2,
    headers: Mapping[str, str] | None = None,
    https: bool = False,
) -> core.ProbeArgs:
    """A GET every `period` seconds that may fail `failures` times in a row."""
    return core.ProbeArgs(
        http_get=core.HTTPGetActionArgs(
            path=path,
            port=port,
            scheme="HTTPS" if https else None,
            http_headers=[core.HTTPHeaderArgs(name=key, value=value) for key, value in (headers or {}).items()] or None,
        ),
        period_seconds=period,
        failure_threshold=failures,
        timeout_seconds=timeout,
    )


def name_of(resource: Any) -> pulumi.Output[str]:
    """The name of a Kubernetes object, with a dependency on it."""
    name: pulumi.Output[str] = resource.metadata.apply(lambda metadata: metadata["name"])
    return name


def env_from_secret(secret: pulumi.Input[str]) -> core.EnvFromSourceArgs:
    """Every entry of the Secret of that name as an environment variable."""
    return core.EnvFromSourceArgs(secret_ref=core.SecretEnvSourceArgs(name=secret))


def as_document(value: Any) -> Any:
    """Arguments of the Kubernetes SDK in Kubernetes' own spelling, for objects that another program creates."""
    if is_output(value):
        return pulumi.Output.from_input(value).apply(as_document)
    if _types.is_input_type(type(value)):
        value = _types.input_type_to_dict(value)
    if isinstance(value, Mapping):
        return {key: as_document(entry) for key, entry in value.items()}
    return [as_document(entry) for entry in value] if isinstance(value, list | tuple) else value
