"""The rules of ModelService's arguments."""

from modelops._pods import check_resources
from modelops._service_args import DEFAULT_MIN_REPLICAS, ModelServiceArgs
from modelops._validation import Problems, read_args


def checked(name: str, args: ModelServiceArgs) -> ModelServiceArgs:
    """The arguments as the component reads them. Raises ArgumentsError with every problem."""
    problems = Problems("ModelService", name)
    problems.dns_label("name", name)
    args = read_args(args, ModelServiceArgs, problems)
    problems.text("image", args.get("image"))
    _check_model_uri(problems, args.get("model_uri"))
    problems.url("tracking_uri", args.get("tracking_uri"))
    problems.text("tracking_secret", args.get("tracking_secret"))
    problems.mlflow_name("serving_alias.alias", (args.get("serving_alias") or {}).get("alias"))
    problems.dns_label("namespace", args.get("namespace"))
    problems.number("replicas", args.get("replicas"), 1, 1000)
    problems.number("port", args.get("port"), 1, 65_535)
    problems.text("host", args.get("host"))
    problems.number("startup_timeout_seconds", args.get("startup_timeout_seconds"), 10, 3600)
    problems.number("drain_seconds", args.get("drain_seconds"), 1, 600)
    check_resources(problems, "resources", args.get("resources"))
    if "autoscaling" in args:
        _check_autoscaling(problems, args)
    problems.raise_if_any()
    return args


def _check_model_uri(problems: Problems, uri: object) -> None:
    if isinstance(uri, str) and not (uri.startswith("models:/") and len(uri) > len("models:/")):
        problems.add("model_uri", uri, "must be models:/<name>@<alias> or models:/<name>/<version>")


def _check_autoscaling(problems: Problems, args: ModelServiceArgs) -> None:
    bounds = args["autoscaling"]
    low, high = bounds.get("min_replicas", DEFAULT_MIN_REPLICAS), bounds.get("max_replicas")
    problems.number("autoscaling.min_replicas", low, 1, 1000)
    problems.number("autoscaling.max_replicas", high, 1, 1000)
    problems.number("autoscaling.target_cpu_percent", bounds.get("target_cpu_percent"), 1, 100)
    if isinstance(low, int) and isinstance(high, int) and high < low:
        problems.add("autoscaling.max_replicas", high, f"must be at least min_replicas ({low})")
    if "replicas" in args:
        problems.add("replicas", args["replicas"], "must not be given with autoscaling, which decides it")
