"""An Airflow for one pipeline: PostgreSQL, and a pod with the API server, the scheduler and the DAG processor.

Tasks run in the scheduler's container (LocalExecutor): they only start Kubernetes Jobs and wait for them.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from modelops.airflow.args import AirflowPipelineArgs, AirflowServer, pod_args
from modelops.core.assets import asset
from modelops.core.images import AIRFLOW_IMAGE, UPSTREAM_IMAGES
from modelops.core.outputs import merged, timeouts, with_dependencies
from modelops.core.types import Expose
from modelops.kubernetes import postgres
from modelops.kubernetes.access import service_account
from modelops.kubernetes.config import generated_secret
from modelops.kubernetes.labels import selector, standard_labels
from modelops.kubernetes.network import allow_ingress, http_service, network_policy
from modelops.kubernetes.pods import (
    ACCOUNT_FOLDER,
    DefaultResources,
    api_access,
    container,
    core,
    from_config_map,
    http_probe,
    mount,
    pod_template,
    resource_requirements,
    restricted_pod,
    scratch,
    secret_variable,
    single_replica,
)

PORT = 8080
API = f"http://127.0.0.1:{PORT}"
HEALTH_PORT = 8974
USER = 50000
"""The user of the upstream image; its group is root, which owns Airflow's folders there."""
DEFAULT_RESOURCES = DefaultResources(cpu="100m", memory="512Mi", memory_limit="1536Mi")
STARTUP_SECONDS = 300
ADMIN = "admin"
HOME = "/opt/airflow"
DAGS = f"{HOME}/dags"
NAME = "airflow"
COMPONENT = "airflow"
DATABASE = postgres.PostgresTenant(
    component="airflow-database", clients=(COMPONENT,), role="airflow", variable="AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"
)
SETTINGS = {
    "AIRFLOW_HOME": HOME,
    "AIRFLOW__CORE__DAGS_FOLDER": DAGS,
    "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
    "AIRFLOW__CORE__PARALLELISM": "4",
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
    "AIRFLOW__CORE__AUTH_MANAGER": "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager",
    "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{API}/execution/",
    "API": API,
    "AIRFLOW__SCHEDULER__ENABLE_HEALTH_CHECK": "True",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_PORT": str(HEALTH_PORT),
    # On a busy node the defaults (5, 30 and 50 s) fail tasks that only wait.
    "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",
    "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "120",
    "AIRFLOW__DAG_PROCESSOR__DAG_FILE_PROCESSOR_TIMEOUT": "180",
    "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
}


@dataclass(frozen=True)
class Server:
    """The objects of a deployed Airflow that the component refers to."""

    service: core.Service
    deployment: k8s.apps.v1.Deployment
    admin: core.Secret


def deploy(
    server: str,
    instance: str,
    args: AirflowPipelineArgs,
    dags: core.ConfigMap,
    files: Sequence[str],
    permissions: pulumi.Resource,
    opts: pulumi.ResourceOptions,
) -> Server:
    """Deploys Airflow after `permissions`, with `files` of the ConfigMap `dags` in its DAGs folder."""
    settings = args.get("airflow", {})
    labels = standard_labels(NAME, COMPONENT, instance)
    metadata = k8s.meta.v1.ObjectMetaArgs(name=server, namespace=args["namespace"], labels=labels)
    database_url = postgres.server(
        f"{instance}-postgres",
        instance,
        args["namespace"],
        _database_settings(settings),
        settings.get("database_image", UPSTREAM_IMAGES["postgres"]),
        pod_args(args),
        opts,
        DATABASE,
    )
    keys = {
        "fernet": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "session": secrets.token_urlsafe(32),
        "tokens": secrets.token_urlsafe(48),
    }
    key_secret = generated_secret(f"{server}-keys", args["namespace"], labels, keys, opts)
    login = {"username": ADMIN, "password": secrets.token_urlsafe(24)}
    admin = generated_secret(f"{server}-admin", args["namespace"], labels, login, opts)
    account = service_account(server, metadata, opts, args)
    network_policy(server, metadata, selector(NAME, instance), opts, ingress=[allow_ingress(PORT)])
    prepare, *programs = _containers(args, database_url, key_secret, admin, files)
    deployment = k8s.apps.v1.Deployment(
        server,
        metadata=metadata,
        # Not a rolling update, in which two schedulers would start the same tasks' Jobs.
        spec=single_replica(
            selector(NAME, instance),
            pod_template(
                labels,
                with_dependencies(server, account, permissions),
                programs,
                pod_args(args),
                security=restricted_pod(USER, 0),
                termination_grace_period_seconds=60,
                volumes=[scratch(), scratch("home"), from_config_map("dags", dags), api_access("account")],
                init_containers=[prepare],
            ),
            2 * STARTUP_SECONDS,
        ),
        opts=merged(opts, custom_timeouts=timeouts(2 * STARTUP_SECONDS + 60)),
    )
    after, expose = merged(opts, depends_on=[deployment]), settings.get("expose", Expose.CLUSTER_IP)
    service = http_service(server, metadata, selector(NAME, instance), PORT, args, after, expose)
    return Server(service, deployment, admin)


def _database_settings(settings: AirflowServer) -> dict[str, Any]:
    found: dict[str, Any] = {
        key: settings[key] for key in ("storage_size", "storage_class", "claim") if key in settings
    }
    return {**found, "resources": settings.get("database_resources", {})}


def _containers(
    args: AirflowPipelineArgs,
    database_url: core.EnvVarArgs,
    key_secret: core.Secret,
    admin: core.Secret,
    files: Sequence[str],
) -> list[core.ContainerArgs]:
    """The init container that prepares the database, then the three programs."""
    settings = args.get("airflow", {})
    shared_secrets = [
        database_url,
        secret_variable("AIRFLOW__CORE__FERNET_KEY", key_secret, "fernet"),
        secret_variable("AIRFLOW__API__SECRET_KEY", key_secret, "session"),
        secret_variable("AIRFLOW__API_AUTH__JWT_SECRET", key_secret, "tokens"),
    ]
    # File by file, because Airflow would find each DAG several times through the symlinks of a mounted ConfigMap.
    mounts = [mount("tmp", "/tmp"), mount("home", HOME)]
    mounts += [mount("dags", f"{DAGS}/{file}", read_only=True, sub_path=file) for file in files]

    def program(
        name: str,
        command: Sequence[str],
        extra_secrets: Sequence[core.EnvVarArgs] = (),
        extra_mounts: Sequence[core.VolumeMountArgs] = (),
        **fields: Any,
    ) -> core.ContainerArgs:
        return container(
            name,
            settings.get("image", AIRFLOW_IMAGE),
            variables=SETTINGS,
            secrets=[*shared_secrets, *extra_secrets],
            command=list(command),
            resources=resource_requirements(settings.get("resources"), DEFAULT_RESOURCES),
            volume_mounts=[*mounts, *extra_mounts],
            **fields,
        )

    def probes(path: str, port: str) -> dict[str, Any]:
        return {
            "startup_probe": http_probe(path, port, period=3, failures=STARTUP_SECONDS // 3, timeout=5),
            "readiness_probe": http_probe(path, port, period=10, failures=3, timeout=10),
            "liveness_probe": http_probe(path, port, period=20, failures=5, timeout=15),
        }

    login = [
        secret_variable("ADMIN_USERNAME", admin, "username"),
        secret_variable("ADMIN_PASSWORD", admin, "password"),
    ]
    return [
        program("prepare", ["/bin/sh", "-c", asset("airflow/assets/prepare.sh")], login),
        program(
            "api-server",
            ["airflow", "api-server", f"--port={PORT}", "--workers=1"],
            ports=[core.ContainerPortArgs(name="http", container_port=PORT)],
            **probes("/api/v2/version", "http"),
        ),
        program(
            "scheduler",
            ["/bin/sh", "-c", asset("airflow/assets/scheduler.sh")],
            extra_mounts=[mount("account", ACCOUNT_FOLDER, read_only=True)],
            ports=[core.ContainerPortArgs(name="health", container_port=HEALTH_PORT)],
            **probes("/health", "health"),
        ),
        program("dag-processor", ["airflow", "dag-processor"]),
    ]
