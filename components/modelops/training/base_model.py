"""The base model of a fine-tuning: part of the run's identity, and in its pods before the training begins.

A container of its own fetches it, so that the training has no credentials of registries; what pods can mount, they do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import pulumi

from modelops.core.model_sources import Source, parse
from modelops.core.outputs import is_output
from modelops.core.validation import Problems
from modelops.kubernetes.pods import core, mount, scratch
from modelops.training.args import TrainingJobArgs

T = TypeVar("T")

BASES = "/bases"
"""Where the fetched base is, without a cache."""
MOUNTED = "/base"
REPLACEABLE = ("s3", "gs", "az", "pvc")
"""Forms that name a place, whose files others can replace: a digest says which they must be."""

OF_LORA = ("rank", "alpha", "dropout", "target_modules")
"""Parameters of the library's fine-tuning that only an adapter has."""


def with_base(args: TrainingJobArgs) -> TrainingJobArgs:
    """The arguments with the base model among the parameters, which the run's identity covers."""
    if "base_model" not in args:
        return args
    base = args["base_model"]
    named = {"base_model": base["uri"], **({"base_digest": base["digest"]} if "digest" in base else {})}
    together: Any = pulumi.Output.all(args.get("parameters") or {}, named).apply(lambda both: {**both[0], **both[1]})
    return {**args, "parameters": together}


def check_base_model(problems: Problems, args: Mapping[str, Any]) -> None:
    """The rules of the reference: it must say which files it stands for, today and later."""
    base = args.get("base_model")
    if not isinstance(base, Mapping):
        return
    problems.text("base_model.secret", base.get("secret"))
    digest, uri = base.get("digest"), base.get("uri")
    if isinstance(digest, str) and not _is_digest(digest):
        problems.add("base_model.digest", digest, "must be sha256: and 64 hexadecimal digits")
    _check_parameters(problems, args.get("parameters"))
    if not isinstance(uri, str):
        return
    try:
        source = parse(uri)
    except ValueError as error:
        problems.add("base_model.uri", uri, str(error))
        return
    if not source.fixed:
        problems.add("base_model.uri", uri, "must name a version that never moves: a commit, a digest, a number")
    if source.form in REPLACEABLE and digest is None:
        problems.missing("base_model.digest", f"it is required for {source.form}://, where files can be replaced")


def _check_parameters(problems: Problems, parameters: object) -> None:
    if not isinstance(parameters, Mapping):
        return
    for name in ("base_model", "base_digest"):
        if name in parameters:
            problems.add(f"parameters.{name}", parameters[name], "must not be given with base_model, which sets it")
    method = parameters.get("method")
    for name in OF_LORA if not is_output(method) and method == "full" else ():
        if name in parameters:
            rule = "must not be given with the method full, which has no adapter"
            problems.add(f"parameters.{name}", parameters[name], rule)


def _is_digest(text: str) -> bool:
    algorithm, _, digits = text.partition(":")
    return algorithm == "sha256" and len(digits) == 64 and set(digits) <= set("0123456789abcdef")


def volumes(args: TrainingJobArgs, cache: pulumi.Input[str] | None) -> list[pulumi.Input[core.VolumeArgs]]:
    """The base's volume: its own where pods mount it, else an empty one."""
    if "base_model" not in args:
        return []
    mounted = _with(args["base_model"]["uri"], _volume)
    return [mounted, *([] if cache is not None else [scratch("bases")])]


def mounts(args: TrainingJobArgs, cache: pulumi.Input[str] | None, cache_path: str) -> list[Any]:
    """The mounts of both the container that fetches and the training."""
    if "base_model" not in args:
        return []
    return [
        _with(args["base_model"]["uri"], _mount),
        mount("cache", cache_path) if cache is not None else mount("bases", BASES),
    ]


def variables(args: TrainingJobArgs, cache: pulumi.Input[str] | None, cache_path: str) -> dict[str, pulumi.Input[str]]:
    """Where the base is."""
    if "base_model" not in args:
        return {}
    return {
        "MODELOPS_BASE_MODEL": args["base_model"]["uri"],
        "MODELOPS_BASE_DIR": _with(args["base_model"]["uri"], lambda source: MOUNTED if source.mounted else ""),
        "MODELOPS_BASES_DIR": BASES if cache is None else cache_path,
    }


def _with(uri: pulumi.Input[str], made: Callable[[Source], T]) -> pulumi.Input[T]:
    """What is made from a reference: now, if it is known."""
    if not is_output(uri):
        return made(parse(str(uri)))
    later: pulumi.Output[str] = pulumi.Output.from_input(uri)
    return later.apply(lambda known: made(parse(known)))


def _volume(source: Source) -> core.VolumeArgs:
    if source.form == "pvc":
        claim = core.PersistentVolumeClaimVolumeSourceArgs(claim_name=source.place, read_only=True)
        return core.VolumeArgs(name="base", persistent_volume_claim=claim)
    if source.form == "oci":
        image = core.ImageVolumeSourceArgs(reference=source.uri.removeprefix("oci://"), pull_policy="IfNotPresent")
        return core.VolumeArgs(name="base", image=image)
    return scratch("base")


def _mount(source: Source) -> core.VolumeMountArgs:
    return mount("base", MOUNTED, read_only=True, sub_path=source.path if source.form == "pvc" else None)
