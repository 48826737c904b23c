"""The stacks' output `release`, by which one environment deploys another one's release unchanged."""

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
_HINT = "deploy the stack to promote from first; `pulumi stack output release --json` there writes the file"


def released(
    model_name: pulumi.Input[str],
    image: pulumi.Input[str],
    model: TrainingJob | ModelPromotion,
    registry: ModelRegistry,
) -> pulumi.Output[Mapping[str, Any]]:
    """Everything that another environment needs to serve the same model and to show its origin."""
    return pulumi.Output.all(
        image=image,
        model_name=model_name,
        run_id=model.run_id,
        model_version=model.model_version,
        tracking_uri=registry.url,
        metrics=model.metrics,
    )


def release(settings: PromotionSettings) -> pulumi.Output[Mapping[str, Any]]:
    """The release to deploy. Raises pulumi.RunError, also in a preview, if it is missing or incomplete."""
    if settings.stack is not None:
        output = pulumi.StackReference(settings.stack).get_output("release")
        return output.apply(lambda value: _checked(value, f"the output `release` of the stack {settings.stack}"))
    path = _ROOT / str(settings.file)
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise pulumi.RunError(f"the release {path} can't be read: {error}; {_HINT}") from None
    return pulumi.Output.from_input(_checked(content, f"the release {path}"))


def _checked(release: Any, source: str) -> Mapping[str, Any]:
    if not isinstance(release, Mapping):
        raise pulumi.RunError(f"{source} is missing; {_HINT}")
    missing = [field for field in _FIELDS if release.get(field) in (None, "")]
    if missing:
        raise pulumi.RunError(f"{source} has no {', '.join(missing)}; {_HINT}")
    if not re.fullmatch(r"\S+@sha256:[0-9a-f]{64}", str(release["image"])):
        raise pulumi.RunError(f"{source} has the image {release['image']!r}, must be named by digest")
    return release
