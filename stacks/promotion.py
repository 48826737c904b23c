"""What one environment releases and another one takes as it is: the stacks' output `release`."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pulumi

from modelops import ModelPromotion, ModelRegistry, TrainingJob
from stacks.models import PromotionSettings

_ROOT = Path(__file__).resolve().parents[1]
_FIELDS = ("image", "model_name", "run_id", "model_version", "tracking_uri", "metrics")
_HOW = "bring up the stack that is promoted from first; `pulumi stack output release --json` there writes the file"


def released(
    model_name: pulumi.Input[str],
    image: pulumi.Input[str],
    made: TrainingJob | ModelPromotion,
    registry: ModelRegistry,
) -> pulumi.Output[Mapping[str, Any]]:
    """All that another environment needs to serve the same, and to say where it comes from."""
    return pulumi.Output.all(
        image=image,
        model_name=model_name,
        run_id=made.run_id,
        model_version=made.model_version,
        tracking_uri=registry.url,
        metrics=made.metrics,
    )


def release(settings: PromotionSettings) -> pulumi.Output[Mapping[str, Any]]:
    """The release to take. Raises pulumi.RunError, in a preview too, when it is not there or not whole."""
    if settings.stack is not None:
        output = pulumi.StackReference(settings.stack).get_output("release")
        return output.apply(lambda found: checked(found, f"the output `release` of the stack {settings.stack}"))
    path = _ROOT / str(settings.file)
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise pulumi.RunError(f"the release {path} can't be read: {error}; {_HOW}") from None
    return pulumi.Output.from_input(checked(found, f"the release {path}"))


def checked(found: Any, where: str) -> Mapping[str, Any]:
    """The release as it was found, if another environment can be made of it. Raises pulumi.RunError."""
    if not isinstance(found, Mapping):
        raise pulumi.RunError(f"{where} is not there; {_HOW}")
    missing = [field for field in _FIELDS if found.get(field) in (None, "")]
    if missing:
        raise pulumi.RunError(f"{where} has no {', '.join(missing)}; {_HOW}")
    if not re.fullmatch(r"\S+@sha256:[0-9a-f]{64}", str(found["image"])):
        raise pulumi.RunError(f"{where} has the image {found['image']!r}, must have one by digest")
    return found
