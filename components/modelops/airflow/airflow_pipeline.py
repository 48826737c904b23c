"""AirflowPipeline: takes a model from raw data to the registry as a DAG, in a new or an existing Airflow."""

from collections.abc import Mapping
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from modelops.airflow import server
from modelops.airflow.args import AirflowPipelineArgs, pod_args
from modelops.airflow.credentials import check_credentials
from modelops.core.assets import asset
from modelops.core.component import arguments_in_one, child_options
from modelops.core.images import UPSTREAM_IMAGES
from modelops.core.naming import objects_name
from modelops.core.outputs import register_declared_outputs, whole, with_dependencies
from modelops.core.run_id import TRAINING_TOKEN, canonical_json
from modelops.core.types import Expose, Resources
from modelops.core.validation import Problems, read_args
from modelops.data.checks import DEFAULT_RESOURCES as DATA_RESOURCES
from modelops.data.checks import check_declaration
from modelops.kubernetes import postgres
from modelops.kubernetes.access import grant, service_account
from modelops.kubernetes.config import config_map
from modelops.kubernetes.labels import standard_labels
from modelops.kubernetes.network import cluster_host, service_url
from modelops.kubernetes.placement import check_pods
from modelops.kubernetes.pods import (
    DefaultResources,
    as_document,
    check_resources,
    claimed,
    container,
    core,
    env_from_secret,
    mount,
    name_of,
    pod_template,
    resource_requirements,
    scratch,
    secret_key,
    tracking_credentials,
)
from modelops.kubernetes.runtime import VARIABLES, runtime_command, runtime_mount, runtime_volume
from modelops.kubernetes.volumes import check_claim
from modelops.training.args import Framework
from modelops.training.checks import check_gate
from modelops.training.gates import gate_variables
from modelops.training.pod import PUBLISHER_RESOURCES, TRAINING_RESOURCES

COMPONENT = "airflow-pipeline"
MAX_NAME_LENGTH = 40
DEFAULT_START = "2026-01-01"
DEFAULT_RETRIES = 1
DEFAULT_RETRY_SECONDS = 60
DEFAULT_TIMEOUT_SECONDS = 3600
MONTH_SECONDS = 2_592_000
DATA, DESTINATION, RUNS = "/data", "/data/prepared", "/data/runs"
TRAIN_COMMAND = ("python", "-m", "sample.train")
PAGE, SECTION = "docs/components/airflow_pipeline.md", "#modelpipelinefailed"

rbac = k8s.rbac.v1


class AirflowPipeline(pulumi.ComponentResource):
    """Prepares, trains, evaluates and registers a model as an Airflow DAG, on a schedule or when triggered.

    It uses the images of DataPipeline and TrainingJob, and its runs have the same identity as TrainingJob's. Unlike
    these two, it runs nothing during `pulumi up`: Airflow decides when.
    """

    dag: pulumi.Output[str]
    """The DAG's id."""
    dag_files: pulumi.Output[str]
    """Name of the ConfigMap with the DAG's three files, for the DAGs folder of an existing Airflow."""
    url: pulumi.Output[str]
    """Address of Airflow's pages and API; empty with `existing`."""
    admin_secret: pulumi.Output[str]
    """Name of the Secret with the administrator's `username` and `password`; empty with `existing`."""

    @arguments_in_one
    def __init__(self, name: str, args: AirflowPipelineArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        args = checked(name, args)
        super().__init__("modelops:index:AirflowPipeline", name, None, opts)
        name = objects_name(name, opts)
        child_opts = child_options(self)
        labels = standard_labels(COMPONENT, COMPONENT, name)
        metadata = k8s.meta.v1.ObjectMetaArgs(name=name, namespace=args["namespace"], labels=labels)
        # The ServiceAccount of the steps' pods has no permissions, and they get no token.
        account = with_dependencies(name, service_account(name, metadata, child_opts, args))
        runtime = runtime_volume(name, args["namespace"], labels, ("publish",), child_opts)
        pod = _StepPod(name, args, account, runtime)
        module = name.replace("-", "_")
        files: Mapping[str, pulumi.Input[str]] = {
            f"{module}.py": asset("airflow/assets/model_pipeline.py"),
            f"{module}.json": pulumi.Output.json_dumps(_document(name, args, pod), indent=2, sort_keys=True),
            "modelops_run_id.py": asset("core/run_id.py"),
        }
        dags = config_map(f"{name}-dag", args["namespace"], labels, files, child_opts)
        self.dag = with_dependencies(name, dags)
        self.dag_files = name_of(dags)
        self.url = self.admin_secret = pulumi.Output.from_input("")
        if "existing" in args:
            existing = args["existing"]
            _allow_jobs(name, args, labels, existing["service_account"], existing["namespace"], child_opts)
        else:
            server_name = f"{name}-airflow"
            permissions = _allow_jobs(name, args, labels, server_name, args["namespace"], child_opts)
            airflow = server.deploy(server_name, name, args, dags, permissions, child_opts)
            self.dag = with_dependencies(name, airflow.deployment)
            self.url = service_url(
                airflow.service,
                expose=Expose(args.get("airflow", {}).get("expose", Expose.CLUSTER_IP)),
                port=server.PORT,
                inside=cluster_host(server_name, args["namespace"]),
                host=None,
                ready=[airflow.deployment],
            )
            self.admin_secret = airflow.admin
        register_declared_outputs(self)


def checked(name: str, args: AirflowPipelineArgs) -> AirflowPipelineArgs:
    """The arguments, read and checked. Raises ArgumentsError with every problem."""
    problems = Problems("AirflowPipeline", name)
    args = read_args(args, AirflowPipelineArgs, problems)
    fields: Mapping[str, Any] = args
    problems.dns_label("name", name, maximum=MAX_NAME_LENGTH)
    problems.dns_label("namespace", fields.get("namespace"))
    problems.text("claim", fields.get("claim"))
    data, training = _mapping(fields.get("data")), _mapping(fields.get("training"))
    check_declaration(problems, data, prefix="data.")
    problems.image_digest("data.image", data.get("image"))
    problems.image_digest("training.image", training.get("image"))
    problems.mlflow_name("training.model_name", training.get("model_name"))
    problems.url("training.tracking_uri", training.get("tracking_uri"))
    check_gate(problems, training, "training.")
    check_resources(problems, "data.resources", data.get("resources"), DATA_RESOURCES)
    check_resources(problems, "training.resources", training.get("resources"), TRAINING_RESOURCES)
    problems.number("retries", fields.get("retries"), 0, 10)
    problems.number("retry_seconds", fields.get("retry_seconds"), 0, 86_400)
    problems.number("timeout_seconds", fields.get("timeout_seconds"), 30, MONTH_SECONDS)
    problems.url("alertmanager_url", fields.get("alertmanager_url"))
    problems.url("runbook_url", fields.get("runbook_url"))
    if fields.get("catchup") and "schedule" not in fields:
        problems.add("catchup", True, "must not be given without schedule")
    if "airflow" in fields and "existing" in fields:
        problems.add("existing", list(_mapping(fields["existing"])), "must not be given together with airflow")
    airflow = _mapping(fields.get("airflow"))
    check_resources(problems, "airflow.resources", airflow.get("resources"), server.DEFAULT_RESOURCES)
    database = airflow.get("database_resources")
    check_resources(problems, "airflow.database_resources", database, postgres.DEFAULT_RESOURCES)
    check_resources(problems, "helper_resources", fields.get("helper_resources"), PUBLISHER_RESOURCES)
    check_pods(problems, fields)
    problems.quantity("airflow.storage_size", airflow.get("storage_size"))
    check_claim(problems, "airflow", airflow)
    check_credentials(problems, airflow)
    problems.raise_if_any()
    return args


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _allow_jobs(
    name: str,
    args: AirflowPipelineArgs,
    labels: Mapping[str, pulumi.Input[str]],
    account: pulumi.Input[str],
    namespace: pulumi.Input[str],
    opts: pulumi.ResourceOptions,
) -> pulumi.Resource:
    """Lets Airflow's tasks run Jobs and read their logs."""
    metadata = k8s.meta.v1.ObjectMetaArgs(name=f"{name}-jobs", namespace=args["namespace"], labels=labels)
    rules = [
        rbac.PolicyRuleArgs(api_groups=["batch"], resources=["jobs", "jobs/status"], verbs=["create", "get", "delete"]),
        rbac.PolicyRuleArgs(api_groups=[""], resources=["pods"], verbs=["list"]),
        rbac.PolicyRuleArgs(api_groups=[""], resources=["pods/log"], verbs=["get"]),
    ]
    return grant(f"{name}-jobs", metadata, rules, account, opts, namespace)


def _document(name: str, args: AirflowPipelineArgs, pod: "_StepPod") -> dict[str, Any]:
    """The DAG's JSON file."""
    training = args["training"]
    return {
        "name": name,
        "namespace": args["namespace"],
        "schedule": args.get("schedule"),
        "start": args.get("start", DEFAULT_START),
        "catchup": args.get("catchup", False),
        "retries": whole(args.get("retries", DEFAULT_RETRIES)),
        "retry_seconds": whole(args.get("retry_seconds", DEFAULT_RETRY_SECONDS)),
        "timeout_seconds": whole(args.get("timeout_seconds", DEFAULT_TIMEOUT_SECONDS)),
        "alertmanager_url": args.get("alertmanager_url", ""),
        "alertmanager_ca_certificate": args.get("alertmanager_ca_certificate", ""),
        "runbook": _runbook(args.get("runbook_url")),
        "destination": DESTINATION,
        "runs": RUNS,
        "training": {
            "image": training["image"],
            "model_name": training["model_name"],
            "framework": Framework(training["framework"]).value,
            "command": list(TRAINING_TOKEN),
            "parameters": training.get("parameters", {}),
        },
        "steps": _steps(name, args, pod),
    }


def _runbook(url: pulumi.Input[str] | None) -> dict[str, pulumi.Input[str]]:
    """The alert's annotation that leads to its section."""
    if url is None:
        return {"runbook": f"{PAGE}{SECTION}"}
    return {"runbook_url": pulumi.Output.concat(url, SECTION)}


def _steps(name: str, args: AirflowPipelineArgs, pod: "_StepPod") -> dict[str, Any]:
    """The pod template of each step."""
    data, training = args["data"], args["training"]
    declaration: dict[str, Any] = {key: data[key] for key in ("sources", "steps", "target") if key in data}
    model: dict[str, pulumi.Input[str]] = {
        "MODELOPS_MODEL_NAME": training["model_name"],
        "MODELOPS_FRAMEWORK": Framework(training["framework"]).value,
        "MODELOPS_PARAMETERS": pulumi.Output.from_input(training.get("parameters") or {}).apply(canonical_json),
        **gate_variables(training),
        "MODELOPS_IMAGE": training["image"],
        "MLFLOW_TRACKING_URI": training["tracking_uri"],
    }
    salt = [secret_key("MODELOPS_SALT", data["salt_secret"], "salt")] if "salt_secret" in data else []
    tracking = tracking_credentials(training.get("tracking_secret"), token=training.get("tracking_token"))
    publish, publisher = runtime_command("publish"), training.get("runtime_image", UPSTREAM_IMAGES["mlflow"])
    publishing, helper = {**model, **VARIABLES}, args.get("helper_resources")
    return {
        "prepare": pod.template(
            data["image"],
            ["python", "-m", "modelops_runtime", "prepare"],
            {
                "MODELOPS_PIPELINE": pulumi.Output.from_input(declaration).apply(canonical_json),
                "MODELOPS_DESTINATION": DESTINATION,
                "MODELOPS_VERSION_FILE": "/dev/termination-log",
                "MODELOPS_PIPELINE_NAME": name,
                "MLFLOW_TRACKING_URI": training["tracking_uri"],
            },
            [*salt, *tracking],
            data.get("resources"),
            DATA_RESOURCES,
            data.get("data_secret"),
        ),
        "train": pod.template(
            training["image"], list(TRAIN_COMMAND), model, [], training.get("resources"), TRAINING_RESOURCES
        ),
        "evaluate": pod.template(publisher, [*publish, "--gate"], publishing, [], helper, PUBLISHER_RESOURCES),
        "register": pod.template(publisher, publish, publishing, tracking, helper, PUBLISHER_RESOURCES),
    }


class _StepPod:
    """Pod templates in Kubernetes' own spelling, because Airflow creates the pods, not Pulumi."""

    def __init__(
        self, name: str, args: AirflowPipelineArgs, account: pulumi.Input[str], runtime: "core.VolumeArgs"
    ) -> None:
        self._name, self._args, self._account, self._runtime = name, args, account, runtime

    def template(
        self,
        image: pulumi.Input[str],
        command: list[str],
        variables: Mapping[str, pulumi.Input[str]],
        secrets: "list[core.EnvVarArgs]",
        resources: Resources | None,
        defaults: DefaultResources,
        env_secret: pulumi.Input[str] | None = None,
    ) -> Any:
        step = container(
            "step",
            image,
            variables=variables,
            secrets=secrets,
            env_from=None if env_secret is None else [env_from_secret(env_secret)],
            command=command,
            resources=resource_requirements(resources, defaults),
            volume_mounts=[mount("data", DATA), mount("tmp", "/tmp"), runtime_mount()],
        )
        template = pod_template(
            standard_labels(COMPONENT, COMPONENT, self._name),
            self._account,
            [step],
            pod_args(self._args),
            restart_policy="Never",
            volumes=[claimed("data", self._args["claim"]), scratch(), self._runtime],
        )
        return as_document(template)
