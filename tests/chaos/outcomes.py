"""What becomes of arguments or settings: objects, one readable refusal before anything is created, or a fault."""

import copy
import json
import re
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pulumi
import pytest

import modelops
from stacks.settings import SettingsError
from tests.chaos.values import Itself, Late
from tests.unit.components.harness import Program, Resource, execute
from tests.unit.stacks.support import RELEASE, REPOSITORY, config_of
from tests.unit.stacks.test_composition import prepared

LONGEST_LINE = 1000
"""Of a refusal that can be read."""
_OWN = (str(REPOSITORY / "components"), str(REPOSITORY / "stacks"), str(REPOSITORY / "__main__.py"))


@dataclass(frozen=True)
class Outcome:
    """Exactly one of the three."""

    resources: list[Resource] | None = None
    refusal: str | None = None
    fault: str | None = None
    detail: str = field(default="", compare=False)


def outcome(build: Callable[[], Any], program: Callable[[], Program] = Program) -> Outcome:
    """Runs `build` as an update. If that is refused, a plan must refuse it as well: plans create nothing."""
    done = _attempt(build, program(), preview=False)
    if done.refusal is None:
        return done
    planned = _attempt(build, program(), preview=True)
    if planned.resources is not None:
        return Outcome(fault=f"refused only after the plan: {done.refusal}")
    return planned


def component(kind: str, args: Any) -> Outcome:
    """Of a component's arguments."""
    return outcome(lambda: getattr(modelops, kind)("demo", real(args)))


def stack(name: str, settings: Mapping[str, Any], folder: Path) -> Outcome:
    """Of the settings of a stack, as `pulumi config` keeps them: text, or JSON."""
    secrets = {key: value for key, value in config_of(name).items() if not key.startswith("modelops:")}
    config = secrets | {f"modelops:{key}": _stored(value) for key, value in settings.items()}
    with pytest.MonkeyPatch.context() as patch:
        # What Git says of the sources is the same for all settings.
        patch.setattr("stacks.source.commit_of", lambda folder: "0" * 40)
        patch.setattr(pulumi.log, "warn", lambda *_, **__: None)
        program, _ = prepared(name, patch, folder, config)
        releases = {"organization/modelops/staging": {"release": RELEASE}}
        return outcome(program, lambda: Program(stacks=releases))


def _stored(value: Any) -> str:
    if isinstance(value, dict | list):
        return json.dumps(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def real(value: Any) -> Any:
    """The value with outputs and resources in the places of what stands for them. Needs a running program."""
    if isinstance(value, Late):
        return pulumi.Output.from_input(real(value.value))
    if isinstance(value, Itself):
        return pulumi.ComponentResource("test:index:Other", "other")
    if type(value) is dict:
        return {key: real(entry) for key, entry in value.items()}
    return [real(entry) for entry in value] if type(value) is list else copy.copy(value)


def _attempt(build: Callable[[], Any], program: Program, *, preview: bool) -> Outcome:
    said: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pulumi.log, "error", lambda message, *_, **__: said.append(message))
        try:
            execute(program, build, preview=preview)
        except (modelops.ArgumentsError, SettingsError) as error:
            return _refusal(str(error))
        except Exception as error:
            return Outcome(fault=_where(error), detail="".join(traceback.format_exception(error)))
    return Outcome(resources=program.resources)


def _refusal(message: str) -> Outcome:
    problem = unreadable(message)
    return Outcome(fault=f"{problem}", detail=message) if problem else Outcome(refusal=message)


def unreadable(message: str) -> str | None:
    """Why nobody could read this message."""
    if "Traceback" in message or re.search(r"<\w+ object at 0x|<pulumi\.", message):
        return "the refusal shows Python's insides"
    if any(len(line) > LONGEST_LINE for line in message.splitlines()):
        return "the refusal has an endless line"
    if re.search(r"[\0-\x08\x0b-\x1f]", message):
        return "the refusal has control characters"
    try:
        message.encode()
    except UnicodeEncodeError:
        return "the refusal can't be printed"
    return None


def _where(error: BaseException) -> str:
    """The kind of an exception and the last place in this repository's own code."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(_OWN)]
    place = f"{Path(frames[-1].filename).relative_to(REPOSITORY)}:{frames[-1].lineno}" if frames else "outside"
    return f"{type(error).__name__} at {place}"
