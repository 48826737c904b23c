"""The rules for DataPipeline's arguments, checked before anything is created.

assets/steps.json has the names, fields and choices of the steps, generated from the steps themselves. The pipeline's
program checks the values of the fields and exits with code 2.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from modelops.core.assets import asset
from modelops.core.outputs import is_output
from modelops.core.validation import Problems, read_args
from modelops.data.args import DataPipelineArgs, Engine
from modelops.kubernetes.placement import check_pods
from modelops.kubernetes.pods import DefaultResources, check_resources
from modelops.kubernetes.volumes import check_volume
from modelops.kubernetes.watch import WATCH_RESOURCES

DEFAULT_RESOURCES = DefaultResources(cpu="500m", memory="1Gi", memory_limit="4Gi")
MONTH_SECONDS = 2_592_000
MAX_NAME_LENGTH = 50
MAX_SHARDS = 100
MAX_DECLARATION_BYTES = 100_000
"""The declaration travels in an environment variable."""
_SALTED = ("hash", "pseudonymise")


def checked(name: str, args: DataPipelineArgs) -> DataPipelineArgs:
    """The arguments, read and checked. Raises ArgumentsError with every problem."""
    problems = Problems("DataPipeline", name)
    args = read_args(args, DataPipelineArgs, problems)
    fields: Mapping[str, Any] = args
    problems.dns_label("name", name, maximum=MAX_NAME_LENGTH)
    problems.text("image", fields.get("image"))
    problems.image_digest("image", fields.get("image"))
    problems.dns_label("namespace", fields.get("namespace"))
    check_declaration(problems, fields)
    _check_destination(problems, fields)
    _check_run(problems, fields)
    _check_engine(problems, fields)
    problems.raise_if_any()
    return args


def check_declaration(problems: Problems, args: Mapping[str, Any], prefix: str = "") -> None:
    """Checks `sources`, `steps` and what they require; `prefix` precedes the fields' names."""
    schema = json.loads(asset("data/assets/steps.json"))
    _check_sources(problems, args, schema["source"], prefix)
    _check_steps(problems, args, schema["steps"], prefix)


def _check_sources(problems: Problems, args: Mapping[str, Any], schema: Mapping[str, Any], prefix: str) -> None:
    sources = _list(args.get("sources"))
    if args.get("sources") == []:
        problems.add(f"{prefix}sources", [], "must have a source")
    for index, source in enumerate(sources):
        field = f"{prefix}sources[{index}]"
        _check_fields(problems, field, source, schema)
        if not isinstance(source, Mapping):
            continue
        format_ = source.get("format", "csv")
        if not is_output(format_) and (format_ == "sql") != ("query" in source):
            problems.add(f"{field}.query", source.get("query"), "must be given with format sql, and only then")


def _check_steps(problems: Problems, args: Mapping[str, Any], schemas: Mapping[str, Any], prefix: str) -> None:
    names: list[str] = []
    all_known = not is_output(args.get("steps"))
    for index, step in enumerate(_list(args.get("steps"))):
        field = f"{prefix}steps[{index}]"
        if is_output(step):
            all_known = False
            continue
        if not isinstance(step, Mapping) or len(step) != 1:
            problems.add(field, step, "must be one step: {name: {fields}}")
            continue
        ((name, fields),) = step.items()
        if name not in schemas:
            problems.unknown(field, name, schemas, "docs/data-steps.md", kind="a step")
            continue
        _check_fields(problems, f"{field}.{name}", fields, schemas[name])
        if schemas[name]["fitted"] and "split" not in names and all_known:
            problems.add(field, name, "must be after split: it is fitted on the training split")
        names.append(name)
    if "steps" in args and all_known and names.count("split") != 1:
        problems.add(f"{prefix}steps", names, "must have exactly one split")
    salted = [name for name in _SALTED if name in names]
    if salted and "salt_secret" not in args:
        problems.missing(f"{prefix}salt_secret", f"it is required with {' and '.join(salted)}")
    declaration = json.dumps({key: args[key] for key in ("sources", "steps") if key in args}, default=repr)
    if len(declaration.encode()) > MAX_DECLARATION_BYTES:
        rule = f"must be at most {MAX_DECLARATION_BYTES} bytes of JSON, sources included"
        problems.add(f"{prefix}steps", f"{len(names)} steps", rule)


def _check_fields(problems: Problems, field: str, value: Any, schema: Mapping[str, Any]) -> None:
    """Checks the names and choices of a step's or source's fields."""
    if is_output(value):
        return
    if not isinstance(value, Mapping):
        problems.add(field, value, "must be a mapping of fields")
        return
    for key, entry in value.items():
        if key not in schema["fields"]:
            problems.unknown(field, key, schema["fields"], "docs/data-steps.md")
        if choices := schema["choices"].get(key):
            problems.choice(f"{field}.{key}", entry, choices)
    for key in schema["required"]:
        if key not in value:
            problems.missing(f"{field}.{key}")


def _check_destination(problems: Problems, args: Mapping[str, Any]) -> None:
    volume, destination = args.get("volume"), args.get("destination")
    if isinstance(volume, Mapping):
        check_volume(problems, "volume", volume)
    if destination is None and volume is None:
        problems.missing("destination", "it is required without volume")
    if not isinstance(destination, str):
        return
    problems.text("destination", destination)
    on_volume = destination == "/data" or destination.startswith("/data/")
    if not on_volume and not re.match(r"(s3|gs|az|abfss)://[^/]", destination):
        rule = "must be a folder under /data or an s3://, gs://, az:// or abfss:// address"
        problems.add("destination", destination, rule)
    elif on_volume and volume is None:
        problems.missing("volume", f"it is required with the destination {destination}")


def _check_engine(problems: Problems, args: Mapping[str, Any]) -> None:
    if args.get("engine") is not Engine.DASK:
        return
    rule = "must not be given with engine dask: it needs all rows in one memory"
    for index, step in enumerate(_list(args.get("steps"))):
        if not isinstance(step, Mapping):
            continue
        fill = step.get("fill")
        if isinstance(fill, Mapping) and fill.get("by") in ("interpolate", "previous"):
            problems.add(f"steps[{index}].fill.by", fill["by"], rule)
        if "near_duplicates" in step:
            problems.add(f"steps[{index}]", "near_duplicates", rule)


def _check_run(problems: Problems, args: Mapping[str, Any]) -> None:
    check_resources(problems, "resources", args.get("resources"), DEFAULT_RESOURCES)
    check_resources(problems, "helper_resources", args.get("helper_resources"), WATCH_RESOURCES)
    check_pods(problems, args)
    problems.number("shards", args.get("shards"), 1, MAX_SHARDS)
    problems.number("retries", args.get("retries"), 0, 10)
    problems.number("timeout_seconds", args.get("timeout_seconds"), 30, MONTH_SECONDS)
    problems.number("scheduling_timeout_seconds", args.get("scheduling_timeout_seconds"), 0, MONTH_SECONDS)
    problems.text("runtime_image", args.get("runtime_image"))
    problems.number("ttl_seconds_after_finished", args.get("ttl_seconds_after_finished"), 60, MONTH_SECONDS)
    problems.text("salt_secret", args.get("salt_secret"))
    problems.text("data_secret", args.get("data_secret"))
    problems.url("tracking_uri", args.get("tracking_uri"))
    problems.text("tracking_secret", args.get("tracking_secret"))
    if "tracking_secret" in args and "tracking_uri" not in args:
        problems.missing("tracking_uri", "it is required with tracking_secret")
    if args.get("command") == []:
        problems.add("command", [], "must name a program")
    schedule = args.get("schedule")
    problems.cron("schedule", schedule)
    if "time_zone" in args and schedule is None:
        problems.add("time_zone", args["time_zone"], "must not be given without schedule")
    if "input_version" in args and schedule is not None:
        problems.add("input_version", args["input_version"], "must not be given with schedule, which reads the inputs")


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, Sequence) and not isinstance(value, str) else []
