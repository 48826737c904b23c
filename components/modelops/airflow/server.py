"""An Airflow for one pipeline: PostgreSQL, and a pod with the API server, the scheduler and the DAG processor.

Tasks run in the scheduler's container (LocalExecutor): they only start Kubernetes Jobs and wait for them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from modelops.airflow.args import AirflowPipelineArgs, pod_args
from modelops.airflow.credentials import COMPONENT, Credentials, credentials
from modelops.core.assets import asset
from modelops.core.images import AIRFLOW_IMAGE
from modelops.core.outputs import merged, timeouts, with_dependencies
from modelops.core.types import Expose
from modelops.kubernetes.access import service_account
from modelops.kubernetes.config import config_map
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
    single_replica,
)

PORT = 8080
API = f"http://127.0.0.1:{PORT}"
HEALTH_PORT = 8974
USER = 50000
"""The user of the upstream image; its group is root, which owns Airflow's folders there."""
DEFAULT_RESOURCES = DefaultResources(cpu="100m", memory="512Mi", memory_limit="1536Mi")
STARTUP_SECONDS = 300
HOME = "/opt/airflow"
DAGS = f"{HOME}/dags"
DAG_SOURCE = "/dag"
"""Where the init container finds the DAG as the stack has it."""
VERSIONS = "modelops_dag_versions"
BUNDLE = {"name": "dags-folder", "classpath": f"{VERSIONS}.VersionedDags", "kwargs": {"folder": DAGS}}
"""Airflow's source of DAGs. The name is that of Airflow's default, where runs of earlier releases have theirs from."""
NAME = "airflow"
SETTINGS = {
    "AIRFLOW_HOME": HOME,
    "AIRFLOW__CORE__DAGS_FOLDER": DAGS,
    "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps([BUNDLE]),
    # The versions' folders are written anew at each start.
    "AIRFLOW__DAG_PROCESSOR__STALE_BUNDLE_CLEANUP_INTERVAL": "0",
    "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
    "AIRFLOW__CORE__PARALLELISM": "4",
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
    "AIRFLOW__CORE__AUTH_MANAGER": "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager",
    "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{API}/execution/",
    "API": API,
    "DAG_SOURCE": DAG_SOURCE,
    "DAG_VERSIONS": f"{HOME}/config/{VERSIONS}.py",
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
    admin: pulumi.Output[str]
    """Name of the Secret with the administrator's account."""


def deploy(
    server: str,
    instance: str,
    args: AirflowPipelineArgs,
    dag: core.ConfigMap,
    permissions: pulumi.Resource,
    opts: pulumi.ResourceOptions,
) -> Server:
    """Deploys Airflow after `permissions`, with the files of the ConfigMap `dag` as the DAG's newest version."""
    settings = args.get("airflow", {})
    labels = standard_labels(NAME, COMPONENT, instance)
    metadata = k8s.meta.v1.ObjectMetaArgs(name=server, namespace=args["namespace"], labels=labels)
    secrets = credentials(server, instance, labels, args, pod_args(args), opts)
    account = service_account(server, metadata, opts, args)
    network_policy(server, metadata, selector(NAME, instance), opts, ingress=[allow_ingress(PORT)])
    module = {f"{VERSIONS}.py": asset("airflow/assets/dag_versions.py")}
    versions = config_map(f"{server}-versions", args["namespace"], labels, module, opts)
    prepare, *programs = _containers(args, secrets)
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
                volumes=[
                    scratch(),
                    scratch("home"),
                    from_config_map("dag", dag),
                    from_config_map("versions", versions),
                    api_access("account"),
                ],
                init_containers=[prepare],
            ),
            2 * STARTUP_SECONDS,
        ),
        opts=merged(opts, custom_timeouts=timeouts(2 * STARTUP_SECONDS + 60)),
    )
    after, expose = merged(opts, depends_on=[deployment]), settings.get("expose", Expose.CLUSTER_IP)
    service = http_service(server, metadata, selector(NAME, instance), PORT, args, after, expose)
    return Server(service, deployment, secrets.admin)


def _containers(args: AirflowPipelineArgs, secrets: Credentials) -> list[core.ContainerArgs]:
    """The init container that prepares the database, then the three programs."""
    settings = args.get("airflow", {})
    # Airflow looks for modules in `config`.
    module = mount("versions", f"{HOME}/config/{VERSIONS}.py", read_only=True, sub_path=f"{VERSIONS}.py")
    mounts = [mount("tmp", "/tmp"), mount("home", HOME), module]

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
            secrets=[*secrets.variables, *extra_secrets],
            env_from=secrets.connections or None,
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

    return [
        program(
            "prepare",
            ["/bin/sh", "-c", asset("airflow/assets/prepare.sh")],
            secrets.login,
            [mount("dag", DAG_SOURCE, read_only=True)],
        ),
        program(
            "api-server",
            # Without a host it listens to every address, of IPv4 and IPv6.
            ["airflow", "api-server", "--host=", f"--port={PORT}", "--workers=1"],
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
