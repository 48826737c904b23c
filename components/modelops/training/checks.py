"""The rules for TrainingJob's arguments, checked before anything is created."""

import math
from collections.abc import Mapping
from typing import Any

from modelops.core.validation import Problems, read_args
from modelops.kubernetes.placement import check_pods
from modelops.kubernetes.pods import check_resources
from modelops.kubernetes.volumes import check_volume
from modelops.training.args import Backend, Framework, TrainingJobArgs
from modelops.training.background import check_wait
from modelops.training.base_model import check_base_model
from modelops.training.gates import check_comparison
from modelops.training.pod import PUBLISHER_RESOURCES, TRAINING_RESOURCES
from modelops.training.sweep import MAX_TRIALS

MONTH_SECONDS = 2_592_000
MAX_NAME_LENGTH = 50
MAX_JOBSET_NAME_LENGTH = 40
"""Shorter, because the Job of a JobSet has a longer name than the JobSet."""
_RESERVED = ("MLFLOW_", "PET_", "DMLC_")


def checked(name: str, args: TrainingJobArgs) -> TrainingJobArgs:
    """The arguments, read and checked. Raises ArgumentsError with every problem."""
    problems = Problems("TrainingJob", name)
    args = read_args(args, TrainingJobArgs, problems)
    fields: Mapping[str, Any] = args
    is_job = fields.get("backend") in (None, Backend.JOB)
    problems.dns_label("name", name, maximum=MAX_NAME_LENGTH if is_job else MAX_JOBSET_NAME_LENGTH)
    _check_run(problems, fields)
    check_base_model(problems, fields)
    _check_topology(problems, fields)
    _check_sweep(problems, fields)
    check_gate(problems, fields)
    _check_volumes(problems, fields)
    _check_scheduling(problems, fields)
    problems.raise_if_any()
    return args


def _check_run(problems: Problems, args: Mapping[str, Any]) -> None:
    problems.text("image", args.get("image"))
    problems.image_digest("image", args.get("image"))
    problems.mlflow_name("model_name", args.get("model_name"))
    problems.dns_label("namespace", args.get("namespace"))
    problems.url("tracking_uri", args.get("tracking_uri"))
    problems.url("tracking_url", args.get("tracking_url"))
    problems.text("tracking_secret", args.get("tracking_secret"))
    for field in ("data_claim", "data_secret"):
        problems.text(field, args.get(field))
        if field in args and "data_uri" not in args:
            problems.add(field, args[field], "must not be given without data_uri")
    if args.get("command") == []:
        problems.add("command", [], "must name a program")
    wait = _mapping(args.get("publisher")).get("registry_wait_seconds")
    problems.number("publisher.registry_wait_seconds", wait, 0, 3600)


def _check_topology(problems: Problems, args: Mapping[str, Any]) -> None:
    workers, processes = _count(args, "workers"), _count(args, "processes_per_worker")
    problems.number("workers", workers, 1, 256)
    problems.number("processes_per_worker", processes, 1, 64)
    framework = args.get("framework")
    if workers > 1 and framework is Framework.OTHER:
        problems.add("workers", workers, "must be 1 with framework other, whose workers can't be connected")
    if processes > 1 and framework not in (Framework.PYTORCH, None):
        problems.add("processes_per_worker", processes, "must be 1 except with framework pytorch, which has torchrun")
    parallel = _count(args, "tensor_parallel")
    problems.number("tensor_parallel", parallel, minimum=1)
    if parallel >= 1 and workers * processes % parallel:
        problems.add("tensor_parallel", parallel, f"must divide workers × processes_per_worker ({workers * processes})")


def _check_sweep(problems: Problems, args: Mapping[str, Any]) -> None:
    sweep = args.get("sweep")
    if sweep is None:
        for field in ("sweep_metric", "sweep_goal", "sweep_parallelism"):
            if field in args:
                problems.add(field, args[field], "must not be given without sweep")
        return
    if not sweep:
        problems.add("sweep", sweep, "must name a parameter")
    if _count(args, "workers") > 1:
        problems.add("sweep", list(sweep), "must not be given with several workers: each of its runs is one pod")
    if args.get("backend") not in (None, Backend.JOB):
        problems.add("sweep", list(sweep), "must not be given with a backend other than job")
    if "sweep_metric" not in args:
        problems.missing("sweep_metric", "it is required with sweep")
    parameters = _mapping(args.get("parameters"))
    for key, values in sweep.items():
        if not values:
            problems.add(f"sweep.{key}", values, "must have values")
        if key in parameters:
            problems.add(f"sweep.{key}", list(values), "must not be in parameters as well")
    count = math.prod(len(values) for values in sweep.values())
    if count > MAX_TRIALS:
        problems.add("sweep", list(sweep), f"must have at most {MAX_TRIALS} combinations ({count} here)")
    problems.number("sweep_parallelism", args.get("sweep_parallelism"), 1, MAX_TRIALS)


def check_gate(problems: Problems, args: Mapping[str, Any], prefix: str = "") -> None:
    """Checks `gate`, what it compares with, and that it and `sweep_metric` name only `reported_metrics`. `prefix` is
    that of the fields."""
    check_comparison(problems, args, prefix)
    gate = f"{prefix}gate"
    reported = args.get("reported_metrics")
    rule = f"must be a metric that the run reports ({', '.join(reported or [])})"
    for metric, bounds in _mapping(args.get("gate")).items():
        if reported is not None and metric not in reported:
            problems.add(gate, metric, rule)
        if not isinstance(bounds, Mapping):
            continue
        if not bounds:
            problems.add(f"{gate}.{metric}", dict(bounds), "must have min, max, min_delta or max_delta")
        for least, most in (("min", "max"), ("min_delta", "max_delta")):
            low, high = bounds.get(least), bounds.get(most)
            if isinstance(low, int | float) and isinstance(high, int | float) and low > high:
                problems.add(f"{gate}.{metric}.{most}", high, f"must be at least {least} ({low})")
    sweep_metric = args.get("sweep_metric")
    if reported is not None and isinstance(sweep_metric, str) and sweep_metric not in reported:
        problems.add("sweep_metric", sweep_metric, rule)


def _check_volumes(problems: Problems, args: Mapping[str, Any]) -> None:
    checkpoints = args.get("checkpoints")
    if isinstance(checkpoints, Mapping):
        problems.number("checkpoints.interval_seconds", checkpoints.get("interval_seconds"), 1, 86_400)
        problems.number("checkpoints.interval_steps", checkpoints.get("interval_steps"), minimum=1)
        uri = checkpoints.get("uri")
        problems.text("checkpoints.uri", uri)
        if isinstance(uri, str) and "://" not in uri:
            problems.add("checkpoints.uri", uri, "must be an address such as s3://bucket/prefix")
        if "secret" in checkpoints and uri is None:
            problems.add("checkpoints.secret", checkpoints["secret"], "must not be given without uri")
        check_volume(problems, "checkpoints", checkpoints, instead="uri")
        if checkpoints.get("keep_after_publish") and "uri" in checkpoints:
            problems.add("checkpoints.keep_after_publish", True, "must not be given with uri")
    check_volume(problems, "model_cache", args.get("model_cache"))


def _check_scheduling(problems: Problems, args: Mapping[str, Any]) -> None:
    check_resources(problems, "resources", args.get("resources"), TRAINING_RESOURCES)
    problems.quantity("shared_memory", args.get("shared_memory"))
    problems.number("retries", args.get("retries"), 0, 10)
    problems.number("timeout_seconds", args.get("timeout_seconds"), 30, MONTH_SECONDS)
    problems.number("ttl_seconds_after_finished", args.get("ttl_seconds_after_finished"), 60, MONTH_SECONDS)
    for field in ("queue_timeout_seconds", "scheduling_timeout_seconds"):
        problems.number(field, args.get(field), 0, MONTH_SECONDS)
    problems.dns_label("queue", args.get("queue"))
    check_wait(problems, args)
    if "queue" in args and args.get("suspend") is False:
        problems.add("suspend", False, "must not be given with queue, which starts the run itself")
    check_resources(problems, "helper_resources", args.get("helper_resources"), PUBLISHER_RESOURCES)
    check_pods(problems, args, *_RESERVED)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _count(args: Mapping[str, Any], field: str) -> int:
    """A whole number, 1 by default; `read_args` has reported one of the wrong type."""
    value = args.get(field, 1)
    return value if isinstance(value, int) else 1
