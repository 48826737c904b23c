"""What DataPipeline refuses before anything is created.

The steps' names, fields and choices are in assets/data/steps.json, which is made from the steps themselves. The values
of the fields are checked by the pipeline's program, which ends with exit code 2.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pulumi

from modelops.core.assets import asset
from modelops.core.validation import Problems, read_args
from modelops.data.args import DataPipelineArgs, Engine
from modelops.kubernetes.pods import DefaultResources, check_resources
from modelops.kubernetes.volumes import check_volume

DEFAULT_RESOURCES = DefaultResources(cpu="500m", memory="1Gi", memory_limit="4Gi")
MONTH_SECONDS = 2_592_000
LONGEST_NAME = 50
MOST_SHARDS = 100
MOST_BYTES = 100_000
"""Of the declaration: it travels in an environment variable."""
_SALTED = ("hash", "pseudonymise")
_TYPED_FORMATS = ("csv", "jsonl")
_CRON = re.compile(r"(\S+\s+){4}\S+|@(yearly|annually|monthly|weekly|daily|midnight|hourly)")


def checked(name: str, unchecked: DataPipelineArgs) -> DataPipelineArgs:
    """The arguments as the component wants them. Raises ArgumentsError with every problem."""
    problems = Problems("DataPipeline", name)
    args = read_args(unchecked, DataPipelineArgs, problems)
    fields: Mapping[str, Any] = args
    problems.dns_label("name", name, maximum=LONGEST_NAME)
    image = fields.get("image")
    problems.text("image", image)
    if isinstance(image, str) and "@sha256:" not in image:
        problems.add("image", image, "must be named by digest (repository@sha256:…): the version would lie")
    problems.dns_label("namespace", fields.get("namespace"))
    check_declaration(problems, fields)
    _check_places(problems, fields)
    _check_run(problems, fields)
    _check_engine(problems, fields)
    problems.raise_if_any()
    return args


def check_declaration(problems: Problems, args: Mapping[str, Any], under: str = "") -> None:
    """Rules of `sources`, `steps` and what they need; `under` stands before the fields' names."""
    known = json.loads(asset("data/assets/steps.json"))
    _check_sources(problems, args, known["source"], under)
    _check_steps(problems, args, known["steps"], under)


def _check_sources(problems: Problems, args: Mapping[str, Any], known: Mapping[str, Any], under: str) -> None:
    sources = _list(args.get("sources"))
    if "sources" in args and not sources:
        problems.add(f"{under}sources", sources, "must have a source")
    for number, source in enumerate(sources):
        field = f"{under}sources[{number}]"
        _check_fields(problems, field, source, known)
        if not isinstance(source, Mapping):
            continue
        kind = source.get("format", "csv")
        if (kind == "sql") != ("query" in source):
            problems.add(f"{field}.query", source.get("query"), "must be given with format sql, and only then")
        if kind in _TYPED_FORMATS and _in_pieces(args) and not source.get("types"):
            problems.missing(f"{field}.types", "it is required with several shards and dask: nobody sees all values")


def _check_steps(problems: Problems, args: Mapping[str, Any], known: Mapping[str, Any], under: str) -> None:
    names: list[str] = []
    for number, step in enumerate(_list(args.get("steps"))):
        field = f"{under}steps[{number}]"
        if not isinstance(step, Mapping) or len(step) != 1:
            problems.add(field, step, "must be one step: {name: {fields}}")
            continue
        ((name, fields),) = step.items()
        if name not in known:
            problems.add(field, name, f"must be one of {', '.join(sorted(known))}")
            continue
        _check_fields(problems, f"{field}.{name}", fields, known[name])
        if known[name]["fitted"] and "split" not in names:
            problems.add(field, name, "must be after split: it is fitted on the training split")
        names.append(name)
    if "steps" in args and names.count("split") != 1:
        problems.add(f"{under}steps", names, "must have exactly one split")
    salted = [name for name in _SALTED if name in names]
    if salted and "salt_secret" not in args:
        problems.missing(f"{under}salt_secret", f"it is required with {' and '.join(salted)}")
    declared = {key: args[key] for key in ("sources", "steps") if key in args}
    if len(json.dumps(declared, default=str).encode()) > MOST_BYTES:
        problems.add(
            f"{under}steps", f"{len(names)} steps", f"must be at most {MOST_BYTES} bytes of JSON, sources included"
        )


def _check_fields(problems: Problems, field: str, value: Any, known: Mapping[str, Any]) -> None:
    """Names and choices of a declaration's fields."""
    if isinstance(value, pulumi.Output):
        return
    if not isinstance(value, Mapping):
        problems.add(field, value, "must be a mapping of fields")
        return
    for key, entry in value.items():
        if key not in known["fields"]:
            problems.add(f"{field}.{key}", entry, f"must not be given; known are {', '.join(known['fields'])}")
        choices = known["choices"].get(key)
        if choices and isinstance(entry, str) and entry not in choices:
            problems.add(f"{field}.{key}", entry, f"must be one of {', '.join(choices)}")
    for key in known["required"]:
        if key not in value:
            problems.missing(f"{field}.{key}")


def _check_places(problems: Problems, args: Mapping[str, Any]) -> None:
    volume, destination = args.get("volume"), args.get("destination")
    if isinstance(volume, Mapping):
        check_volume(problems, "volume", volume)
    if destination is None and volume is None:
        problems.missing("destination", "it is required without volume")
    if not isinstance(destination, str):
        return
    problems.text("destination", destination)
    on_volume = destination == "/data" or destination.startswith("/data/")
    if not on_volume and not destination.startswith("s3://"):
        problems.add("destination", destination, "must be a folder under /data or an s3:// address")
    elif on_volume and volume is None:
        problems.missing("volume", f"it is required with the destination {destination}")


def _in_pieces(args: Mapping[str, Any]) -> bool:
    return args.get("shards", 1) != 1 or args.get("engine") is Engine.DASK


def _check_engine(problems: Problems, args: Mapping[str, Any]) -> None:
    if args.get("engine") is not Engine.DASK:
        return
    for number, step in enumerate(_list(args.get("steps"))):
        fill = step.get("fill") if isinstance(step, Mapping) else None
        if isinstance(fill, Mapping) and fill.get("by") == "interpolate":
            problems.add(
                f"steps[{number}].fill.by", "interpolate", "needs all rows in one memory: not with engine dask"
            )


def _check_run(problems: Problems, args: Mapping[str, Any]) -> None:
    check_resources(problems, "resources", args.get("resources"), DEFAULT_RESOURCES)
    problems.number("shards", args.get("shards"), 1, MOST_SHARDS)
    problems.number("retries", args.get("retries"), 0, 10)
    problems.number("timeout_seconds", args.get("timeout_seconds"), 30, MONTH_SECONDS)
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
    if isinstance(schedule, str) and not _CRON.fullmatch(schedule):
        problems.add("schedule", schedule, "must be five fields of cron, such as 0 3 * * *")
    if "time_zone" in args and schedule is None:
        problems.add("time_zone", args["time_zone"], "must not be given without schedule")
    if "input_version" in args and schedule is not None:
        problems.add("input_version", args["input_version"], "must not be given with schedule, which reads the inputs")
    for key in args.get("environment") or {}:
        if key.startswith("MODELOPS_") or not key.replace("_", "a").isalnum():
            problems.add("environment", key, "must be a variable's name that does not begin with MODELOPS_")


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, Sequence) and not isinstance(value, str) else []
