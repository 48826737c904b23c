"""A PostgreSQL server for one component, on a volume that outlives it."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from modelops.core.assets import asset
from modelops.core.outputs import with_dependencies
from modelops.kubernetes.access import service_account
from modelops.kubernetes.config import generated_secret
from modelops.kubernetes.labels import selector, standard_labels
from modelops.kubernetes.network import allow_ingress, ip_families, network_policy
from modelops.kubernetes.pods import (
    DefaultResources,
    container,
    core,
    mount,
    name_of,
    pod_template,
    resource_requirements,
    restricted_pod,
    scratch,
    secret_key,
)
from modelops.kubernetes.volumes import DATA, PodVolumes

NAME = "postgres"
PORT = 5432
DEFAULT_STORAGE_SIZE = "5Gi"
USER = 999
"""The user of the upstream image."""
DEFAULT_RESOURCES = DefaultResources(cpu="100m", memory="128Mi", memory_limit="512Mi")
_FOLDER = "/data"


@dataclass(frozen=True)
class PostgresTenant:
    """The program whose database a server holds."""

    component: str
    """The server's `app.kubernetes.io/component` label."""
    clients: tuple[str, ...]
    """That label of the pods that may connect to the server."""
    role: str
    """Name of the user and the database."""
    variable: str
    """Environment variable from which the program reads the database's URL."""


def server(
    name: str,
    instance: str,
    namespace: pulumi.Input[str],
    settings: Mapping[str, Any],
    image: pulumi.Input[str],
    args: Mapping[str, Any],
    opts: pulumi.ResourceOptions,
    tenant: PostgresTenant,
) -> list[core.EnvVarArgs]:
    """Deploys a PostgreSQL server with its own volume, or the `claim` of the settings. Returns the environment
    variables with which the tenant's program connects.

    The password is generated, unless the settings name a `password_secret`.
    """
    labels = standard_labels(NAME, tenant.component, instance)
    metadata = k8s.meta.v1.ObjectMetaArgs(name=name, namespace=namespace, labels=labels)
    existing = settings.get("password_secret")
    credentials = existing or _generated_credentials(name, namespace, labels, tenant, opts)
    account = service_account(name, metadata, opts)
    is_client = k8s.meta.v1.LabelSelectorRequirementArgs(
        key="app.kubernetes.io/component", operator="In", values=list(tenant.clients)
    )
    clients = k8s.meta.v1.LabelSelectorArgs(
        match_labels={"app.kubernetes.io/instance": instance}, match_expressions=[is_client]
    )
    # Only the tenant's pods connect; the server itself opens no connections.
    ingress = [allow_ingress(PORT, [k8s.networking.v1.NetworkPolicyPeerArgs(pod_selector=clients)])]
    network_policy(name, metadata, selector(NAME, instance), opts, ingress=ingress, egress=[])
    service = core.Service(
        name,
        # Pulumi waits for the StatefulSet, and so for the pod.
        metadata=k8s.meta.v1.ObjectMetaArgs(
            name=name, namespace=namespace, labels=labels, annotations={"pulumi.com/skipAwait": "true"}
        ),
        spec=core.ServiceSpecArgs(
            selector=selector(NAME, instance),
            # Clients reach the server even while a probe is late: they can wait for an answer.
            publish_not_ready_addresses=True,
            ports=[core.ServicePortArgs(name="postgres", port=PORT, target_port="postgres")],
            **ip_families(args),
        ),
        opts=opts,
    )
    size = settings.get("storage_size", DEFAULT_STORAGE_SIZE)
    volumes = PodVolumes(labels, size, settings)
    stateful = k8s.apps.v1.StatefulSet(
        name,
        metadata=metadata,
        spec=k8s.apps.v1.StatefulSetSpecArgs(
            replicas=1,
            service_name=with_dependencies(name, service),
            selector=k8s.meta.v1.LabelSelectorArgs(match_labels=selector(NAME, instance)),
            template=_pod(
                instance, args, image, with_dependencies(name, account), credentials, settings, volumes, tenant
            ),
            **volumes.fields,
        ),
        opts=volumes.options(opts),
    )
    volumes.grow(stateful, name, 1, namespace, opts)
    credentials = with_dependencies(credentials, stateful)
    if existing is None:
        return [secret_key(tenant.variable, credentials, "url")]
    # Every driver reads PGPASSWORD, and a password there may have any characters.
    url = core.EnvVarArgs(name=tenant.variable, value=_url(name, tenant.role, tenant.role))
    return [url, secret_key("PGPASSWORD", credentials, "password")]


def _generated_credentials(
    name: str,
    namespace: pulumi.Input[str],
    labels: Mapping[str, pulumi.Input[str]],
    tenant: PostgresTenant,
    opts: pulumi.ResourceOptions,
) -> pulumi.Output[str]:
    password = secrets.token_urlsafe(24)
    entries = {"password": password, "url": _url(name, f"{tenant.role}:{password}", tenant.role)}
    return name_of(generated_secret(name, namespace, labels, entries, opts))


def _url(host: str, account: str, database: str) -> str:
    return f"postgresql+psycopg2://{account}@{host}:{PORT}/{database}"


def _pod(
    instance: str,
    args: Mapping[str, Any],
    image: pulumi.Input[str],
    account: pulumi.Input[str],
    credentials: pulumi.Input[str],
    settings: Mapping[str, Any],
    volumes: PodVolumes,
    tenant: PostgresTenant,
) -> core.PodTemplateSpecArgs:
    mounts = [mount(DATA, _FOLDER), mount("tmp", "/tmp")]
    folder = f"{_FOLDER}/pgdata"
    ready = core.ProbeArgs(
        exec_=core.ExecActionArgs(command=["pg_isready", "--host=127.0.0.1", f"--username={tenant.role}"]),
        period_seconds=5,
        timeout_seconds=5,
        failure_threshold=3,
    )
    prepare = container(
        "prepare",
        image,
        variables={"PGDATA": folder, "POSTGRES_ROLE": tenant.role},
        secrets=[secret_key("POSTGRES_PASSWORD", credentials, "password")],
        command=["/bin/sh", "-c", asset("kubernetes/assets/postgres.sh"), "prepare"],
        resources=resource_requirements(settings.get("resources"), DEFAULT_RESOURCES),
        volume_mounts=mounts,
    )
    server = container(
        NAME,
        image,
        variables={"PGDATA": folder},
        command=["postgres", "-D", folder, "-c", "listen_addresses=*", "-c", "unix_socket_directories=/tmp"],
        ports=[core.ContainerPortArgs(name="postgres", container_port=PORT)],
        resources=resource_requirements(settings.get("resources"), DEFAULT_RESOURCES),
        readiness_probe=ready,
        startup_probe=core.ProbeArgs(exec_=ready.exec_, period_seconds=2, timeout_seconds=5, failure_threshold=150),
        liveness_probe=core.ProbeArgs(exec_=ready.exec_, period_seconds=20, timeout_seconds=10, failure_threshold=3),
        # SIGTERM would wait for clients to leave; a fast stop disconnects them and shuts down cleanly.
        lifecycle=core.LifecycleArgs(
            pre_stop=core.LifecycleHandlerArgs(
                exec_=core.ExecActionArgs(command=["pg_ctl", "stop", "-D", folder, "--mode=fast"])
            )
        ),
        volume_mounts=mounts,
    )
    return pod_template(
        standard_labels(NAME, tenant.component, instance),
        account,
        [server],
        args,
        security=restricted_pod(USER),
        volumes=[scratch(), *volumes.volumes],
        init_containers=[prepare],
    )
