"""AirflowPipeline: a model's way from raw data to the registry as a DAG, in an Airflow of its own or another one."""

from collections.abc import Mapping
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from modelops.airflow import server
from modelops.airflow.args import AirflowPipelineArgs
from modelops.core.assets import asset
from modelops.core.naming import objects_name
from modelops.core.outputs import with_dependencies
from modelops.core.run_id import TRAINING_TOKEN, canonical_json
from modelops.core.types import Expose, Resources
from modelops.core.validation import Problems, read_args
from modelops.data.checks import DEFAULT_RESOURCES as DATA_SIZES
from modelops.data.checks import check_declaration
from modelops.kubernetes.access import grant, service_account
from modelops.kubernetes.config import config_map
from modelops.kubernetes.labels import standard_labels
from modelops.kubernetes.network import cluster_host, service_url
from modelops.kubernetes.pods import (
    DefaultResources,
    as_document,
    check_resources,
    claimed,
    container,
    env_from_secret,
    mount,
    name_of,
    pod_template,
    resource_requirements,
    scratch,
    secret_key,
)
from modelops.training.args import Framework
from modelops.training.pod import PUBLISHER_SIZES, TRAINING_SIZES

COMPONENT = "airflow-pipeline"
LONGEST_NAME = 40
DEFAULT_START = "2026-01-01"
DEFAULT_RETRIES = 1
DEFAULT_RETRY_SECONDS = 60
DEFAULT_TIMEOUT_SECONDS = 3600
MONTH_SECONDS = 2_592_000
DATA, DESTINATION, RUNS = "/data", "/data/prepared", "/data/runs"
TRAIN_COMMAND = ("python", "-m", "sample.train")
RUNBOOK = "docs/components/airflow_pipeline.md#modelpipelinefailed"

rbac = k8s.rbac.v1


class AirflowPipeline(pulumi.ComponentResource):
    """Prepares, trains, evaluates and registers a model as an Airflow DAG, by the images that DataPipeline and
    TrainingJob run, on a schedule or when it is triggered; a run has the identity that a TrainingJob's would have.

    Unlike these two, nothing of it runs during `pulumi up`: Airflow decides when.
    """

    dag: pulumi.Output[str]
    """The DAG's id."""
    dag_files: pulumi.Output[str]
    """Name of the ConfigMap with the DAG's three files, for the folder of DAGs of an existing Airflow."""
    url: pulumi.Output[str]
    """Address of Airflow's pages and API; empty with `existing`."""
    admin_secret: pulumi.Output[str]
    """Name of the Secret with `username` and `password` of its administrator; empty with `existing`."""

    def __init__(self, name: str, args: AirflowPipelineArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        args = checked(name, args)
        super().__init__("modelops:index:AirflowPipeline", name, None, opts)
        name = objects_name(name, opts)
        child_opts = pulumi.ResourceOptions(parent=self)
        labels = standard_labels(COMPONENT, COMPONENT, name)
        pods = _account(name, args, labels, child_opts)
        document = pulumi.Output.json_dumps(_document(name, args, pods), indent=2, sort_keys=True)
        files: Mapping[str, pulumi.Input[str]] = {
            f"{_module(name)}.py": asset("airflow/assets/model_pipeline.py"),
            f"{_module(name)}.json": document,
            "modelops_run_id.py": asset("core/run_id.py"),
        }
        dags = config_map(f"{name}-dag", args["namespace"], labels, files, child_opts)
        self.dag = with_dependencies(name, dags)
        self.dag_files = name_of(dags)
        self.url = self.admin_secret = pulumi.Output.from_input("")
        if "existing" in args:
            existing = args["existing"]
            _rights(name, args, labels, existing["service_account"], existing["namespace"], child_opts)
        else:
            runner = f"{name}-airflow"
            rights = _rights(name, args, labels, runner, args["namespace"], child_opts)
            airflow = server.deploy(runner, name, args, dags, tuple(files), rights, child_opts)
            self.dag = with_dependencies(name, airflow.deployment)
            self.url = service_url(
                airflow.service,
                expose=Expose(args.get("airflow", {}).get("expose", Expose.CLUSTER_IP)),
                port=server.PORT,
                inside=cluster_host(runner, args["namespace"]),
                host=None,
                ready=[airflow.deployment],
            )
            self.admin_secret = name_of(airflow.admin)
        outputs = ("dag", "dag_files", "url", "admin_secret")
        self.register_outputs({output: getattr(self, output) for output in outputs})


def checked(name: str, unchecked: AirflowPipelineArgs) -> AirflowPipelineArgs:
    """The arguments as the component wants them. Raises ArgumentsError with every problem."""
    problems = Problems("AirflowPipeline", name)
    args = read_args(unchecked, AirflowPipelineArgs, problems)
    fields: Mapping[str, Any] = args
    problems.dns_label("name", name, maximum=LONGEST_NAME)
    problems.dns_label("namespace", fields.get("namespace"))
    problems.text("claim", fields.get("claim"))
    data, training = _mapping(fields.get("data")), _mapping(fields.get("training"))
    check_declaration(problems, data, prefix="data.")
    for field, part in (("data", data), ("training", training)):
        image = part.get("image")
        if isinstance(image, str) and "@sha256:" not in image:
            problems.add(f"{field}.image", image, "must be named by digest (repository@sha256:…)")
    problems.mlflow_name("training.model_name", training.get("model_name"))
    problems.url("training.tracking_uri", training.get("tracking_uri"))
    check_resources(problems, "data.resources", data.get("resources"), DATA_SIZES)
    check_resources(problems, "training.resources", training.get("resources"), TRAINING_SIZES)
    problems.number("retries", fields.get("retries"), 0, 10)
    problems.number("retry_seconds", fields.get("retry_seconds"), 0, 86_400)
    problems.number("timeout_seconds", fields.get("timeout_seconds"), 30, MONTH_SECONDS)
    problems.url("alertmanager_url", fields.get("alertmanager_url"))
    if fields.get("catchup") and "schedule" not in fields:
        problems.add("catchup", True, "must not be given without schedule")
    if "airflow" in fields and "existing" in fields:
        problems.add("existing", "given", "must not be given together with airflow")
    airflow = _mapping(fields.get("airflow"))
    check_resources(problems, "airflow.resources", airflow.get("resources"), server.DEFAULT_RESOURCES)
    problems.quantity("airflow.storage_size", airflow.get("storage_size"))
    problems.raise_if_any()
    return args


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _module(name: str) -> str:
    """The name of the DAG's file."""
    return name.replace("-", "_")


def _account(
    name: str, args: AirflowPipelineArgs, labels: Mapping[str, pulumi.Input[str]], opts: pulumi.ResourceOptions
) -> pulumi.Output[str]:
    """The ServiceAccount of the steps' pods, without rights and token."""
    metadata = k8s.meta.v1.ObjectMetaArgs(name=name, namespace=args["namespace"], labels=labels)
    account = service_account(name, metadata, opts)
    return with_dependencies(name, account)


def _rights(
    name: str,
    args: AirflowPipelineArgs,
    labels: Mapping[str, pulumi.Input[str]],
    account: pulumi.Input[str],
    namespace: pulumi.Input[str],
    opts: pulumi.ResourceOptions,
) -> pulumi.Resource:
    """What Airflow's tasks may do: run Jobs and read what they said."""
    metadata = k8s.meta.v1.ObjectMetaArgs(name=f"{name}-jobs", namespace=args["namespace"], labels=labels)
    rules = [
        rbac.PolicyRuleArgs(api_groups=["batch"], resources=["jobs", "jobs/status"], verbs=["create", "get", "delete"]),
        rbac.PolicyRuleArgs(api_groups=[""], resources=["pods"], verbs=["list"]),
        rbac.PolicyRuleArgs(api_groups=[""], resources=["pods/log"], verbs=["get"]),
    ]
    return grant(f"{name}-jobs", metadata, rules, account, opts, namespace)


def _document(name: str, args: AirflowPipelineArgs, account: pulumi.Input[str]) -> dict[str, Any]:
    """What the DAG reads."""
    training = args["training"]
    return {
        "name": name,
        "namespace": args["namespace"],
        "schedule": args.get("schedule"),
        "start": args.get("start", DEFAULT_START),
        "catchup": args.get("catchup", False),
        "retries": args.get("retries", DEFAULT_RETRIES),
        "retry_seconds": args.get("retry_seconds", DEFAULT_RETRY_SECONDS),
        "timeout_seconds": args.get("timeout_seconds", DEFAULT_TIMEOUT_SECONDS),
        "alertmanager_url": args.get("alertmanager_url", ""),
        "runbook": RUNBOOK,
        "destination": DESTINATION,
        "runs": RUNS,
        "training": {
            "image": training["image"],
            "model_name": training["model_name"],
            "framework": Framework(training["framework"]).value,
            "command": list(TRAINING_TOKEN),
            "parameters": training.get("parameters", {}),
        },
        "steps": _steps(name, args, account),
    }


def _steps(name: str, args: AirflowPipelineArgs, account: pulumi.Input[str]) -> dict[str, Any]:
    """The pod template of each step."""
    data, training = args["data"], args["training"]
    declared = {key: data[key] for key in ("sources", "steps", "target") if key in data}
    model: dict[str, pulumi.Input[str]] = {
        "MODELOPS_MODEL_NAME": training["model_name"],
        "MODELOPS_FRAMEWORK": Framework(training["framework"]).value,
        "MODELOPS_PARAMETERS": pulumi.Output.from_input(training.get("parameters") or {}).apply(canonical_json),
        "MODELOPS_GATE": pulumi.Output.from_input(training.get("gate") or {}).apply(canonical_json),
        "MODELOPS_IMAGE": training["image"],
        "MLFLOW_TRACKING_URI": training["tracking_uri"],
    }
    pod = _Pod(name, args, account)
    salt = {"MODELOPS_SALT": (data["salt_secret"], "salt")} if "salt_secret" in data else {}
    tracking: dict[str, tuple[pulumi.Input[str], str]] = {}
    if "tracking_secret" in training:
        for key in ("username", "password"):
            tracking[f"MLFLOW_TRACKING_{key.upper()}"] = (training["tracking_secret"], key)
    publish = ["python", "-m", "modelops_runtime", "publish"]
    return {
        "prepare": pod.of(
            data["image"],
            ["python", "-m", "modelops_runtime", "prepare"],
            {
                "MODELOPS_PIPELINE": canonical_json(declared),
                "MODELOPS_DESTINATION": DESTINATION,
                "MODELOPS_VERSION_FILE": "/dev/termination-log",
                "MODELOPS_PIPELINE_NAME": name,
                "MLFLOW_TRACKING_URI": training["tracking_uri"],
            },
            {**salt, **tracking},
            data.get("resources"),
            DATA_SIZES,
            all_of=data.get("data_secret"),
        ),
        "train": pod.of(training["image"], list(TRAIN_COMMAND), model, {}, training.get("resources"), TRAINING_SIZES),
        "evaluate": pod.of(training["image"], [*publish, "--gate"], model, {}, None, PUBLISHER_SIZES),
        "register": pod.of(training["image"], publish, model, tracking, None, PUBLISHER_SIZES),
    }


class _Pod:
    """Pod templates as Kubernetes' API takes them: Airflow creates these pods, not Pulumi."""

    def __init__(self, name: str, args: AirflowPipelineArgs, account: pulumi.Input[str]) -> None:
        self._name, self._args, self._account = name, args, account

    def of(
        self,
        image: pulumi.Input[str],
        command: list[str],
        variables: Mapping[str, pulumi.Input[str]],
        secrets: Mapping[str, tuple[pulumi.Input[str], str]],
        resources: Resources | None,
        sizes: DefaultResources,
        all_of: pulumi.Input[str] | None = None,
    ) -> Any:
        step = container(
            "step",
            image,
            variables=variables,
            secrets=[secret_key(key, secret, entry) for key, (secret, entry) in secrets.items()],
            env_from=None if all_of is None else [env_from_secret(all_of)],
            command=command,
            resources=resource_requirements(resources, sizes),
            volume_mounts=[mount("data", DATA), mount("tmp", "/tmp")],
        )
        template = pod_template(
            standard_labels(COMPONENT, COMPONENT, self._name),
            self._account,
            [step],
            self._args,
            restart_policy="Never",
            volumes=[claimed("data", self._args["claim"]), scratch()],
        )
        return as_document(template)
