"""The rules of `model_uri` beside the other arguments, and the pinning of references that can move."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, cast

import pulumi

from modelops.core.errors import logged
from modelops.core.model_sources import OWN_ALIASES, Source, is_label, parse
from modelops.core.outputs import is_output, known_or_none
from modelops.core.validation import Problems
from modelops.serving.args import ModelServiceArgs, is_vllm

_PARTS = (("canary", "model_uri"), ("blue_green", "standby_model_uri"), ("shadow", "model_uri"))


def check_source(problems: Problems, field: str, uri: object, args: ModelServiceArgs) -> None:
    """The rules of one of the arguments that name a model; an output is judged once its value is known."""
    if not isinstance(uri, str):
        return
    try:
        source = parse(uri)
    except ValueError as error:
        problems.add(field, uri, str(error))
        return
    _check_others(problems, field, source, args)
    if not source.fixed and args.get("allow_drift"):
        _check_drift(problems, field, source)


def _check_others(problems: Problems, field: str, source: Source, args: ModelServiceArgs) -> None:
    """The arguments that a form needs, and those that it makes no use of."""
    if source.registered and "tracking_uri" not in args:
        problems.missing("tracking_uri", f"it is required for a {field} of the form {source.form}:/")
    has_client = source.registered or source.mounted or (source.form == "hf" and is_vllm(args))
    if not (has_client or "runtime_image" in args or "fetch_command" in args):
        image = "the target `fetch` of model/Dockerfile, or one of yours with modelops-runtime[stores]"
        problems.missing("runtime_image", f"{source.form}:// needs an image that can read from there: {image}")
    if source.mounted and "fetch_command" in args:
        rule = f"must not be given with {source.form}://, which pods mount"
        problems.add("fetch_command", args["fetch_command"], rule)
    if field in ("model_uri", "canary.model_uri") and "serving_alias" in args and not source.has_alias:
        rule = f"must not be given with a {field} that is no version of a registered model"
        problems.add("serving_alias", args["serving_alias"], rule)
    if field != "model_uri":
        return
    if source.mounted and "cache" in args and not is_vllm(args):  # An adapter's base may go there, and what compiles.
        rule = f"must not be given with {source.form}://, which pods mount"
        problems.add("cache", args["cache"], rule)
    # An engine's adapters, or its base, may be there.
    if not (source.form == "s3" or source.registered or is_vllm(args)) and "model_endpoint_url" in args:
        rule = f"must not be given with {source.form}://: it is for S3 and for MLflow servers whose files are there"
        problems.add("model_endpoint_url", args["model_endpoint_url"], rule)


def _check_drift(problems: Problems, field: str, source: Source) -> None:
    if source.form == "models" and source.version == "latest":
        problems.add(field, source.uri, "must name an alias with allow_drift: pods can't look up `latest`")
    elif not is_label(source.version):
        problems.add(field, source.uri, "must end in what can be a label, with allow_drift: letters, digits, '.-_'")


def tracks(args: ModelServiceArgs) -> dict[str, pulumi.Input[str]]:
    """By field: what the tracks beside the one with `model_uri` serve."""
    values: Any = args
    return {f"{part}.{key}": values[part][key] for part, key in _PARTS if key in values.get(part, {})}


def references(args: ModelServiceArgs) -> dict[str, pulumi.Input[str]]:
    """By field: what the arguments refer to."""
    parts = tracks(args)
    engine: Any = args.get("vllm", {})
    if "base_model_uri" in engine:
        parts["vllm.base_model_uri"] = engine["base_model_uri"]
    adapters = {
        f"vllm.adapters[{at}].model_uri": each["model_uri"] for at, each in enumerate(engine.get("adapters", []))
    }
    return {"model_uri": args["model_uri"], **parts, **adapters}


def pinned(service: pulumi.Resource, name: str, args: ModelServiceArgs) -> ModelServiceArgs:
    """The arguments with every reference fixed, unless drifting is wanted. Raises ArgumentsError.

    What is known now is looked up now. An output is judged, and looked up, as soon as its value is known.
    """
    pin = _Pin(service, name, args)
    found: dict[str, Any] = {**args}
    for field, uri in references(args).items():
        found = _replaced(found, re.findall(r"\w+", field), pin(field, uri))
    return cast(ModelServiceArgs, found)


def _replaced(value: Any, path: Sequence[str], new: Any) -> Any:
    """`value` with something else at a path of names and places."""
    if not path:
        return new
    if isinstance(value, list):
        at = int(path[0])
        return [*value[:at], _replaced(value[at], path[1:], new), *value[at + 1 :]]
    return {**value, path[0]: _replaced(value[path[0]], path[1:], new)}


class _Pin:
    def __init__(self, service: pulumi.Resource, name: str, args: ModelServiceArgs) -> None:
        self._service, self._name, self._args = service, name, args
        self._address = args.get("tracking_url", args.get("tracking_uri", ""))

    def __call__(self, field: str, uri: pulumi.Input[str]) -> pulumi.Input[str]:
        if isinstance(uri, str):
            return self._settled(field, uri)
        later: pulumi.Output[str] = pulumi.Output.from_input(cast(Any, uri))
        return later.apply(lambda known: self._judged(field, known))

    def _judged(self, field: str, uri: str) -> pulumi.Input[str]:
        with logged(self._service):
            problems = Problems("ModelService", self._name)
            check_source(problems, field, uri, self._args)
            problems.raise_if_any()
            return self._settled(field, uri)

    def _settled(self, field: str, uri: str) -> pulumi.Input[str]:
        source = parse(uri)
        if source.fixed or self._args.get("allow_drift"):
            return uri
        if source.form != "models" or not is_output(self._address):
            return self._looked_up(field, source, cast(str, self._address))
        address = pulumi.Output.from_input(self._address)
        return known_or_none(address).apply(
            lambda known: self._asked(field, source, known) if known else self._later(source)
        )

    def _asked(self, field: str, source: Source, tracking_url: str) -> str:
        with logged(self._service):
            return self._looked_up(field, source, tracking_url)

    def _looked_up(self, field: str, source: Source, tracking_url: str) -> str:
        # Imported here, because hardly any plan needs it.
        from modelops.serving.resolve import Unresolved, resolved

        try:
            found = resolved(source, tracking_url)
        except Unresolved as error:
            problems = Problems("ModelService", self._name)
            problems.add(field, source.uri, f"which can move, and can't be pinned: {error}. {_ways_out(source)}")
            problems.raise_if_any()
            raise
        what = found.uri if source.form != "models" else f"version {found.version}"
        pulumi.log.info(f"{source.uri} is {what}", self._service)
        return found.uri

    def _later(self, source: Source) -> str:
        when = "is pinned in the update: the registry's address isn't known yet"
        pulumi.log.info(f"{source.uri} {when}", self._service)
        return cast(str, pulumi.UNKNOWN)


def _ways_out(source: Source) -> str:
    fixed = {
        "models": f"models:/{source.name}/<version> or models:/{source.name}@{OWN_ALIASES}…",
        "hf": f"hf://{source.name}@<commit, all 40 digits>",
        "oci": f"oci://{source.place}@sha256:<digest>",
    }[source.form]
    reachable = ", give tracking_url, where this machine reaches the server" if source.form == "models" else ""
    return f"Write {fixed}{reachable}, or set allow_drift if every new pod may serve another model"
