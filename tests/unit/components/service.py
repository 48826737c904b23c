"""What the tests of ModelService share."""

from typing import Any

import pulumi
import pytest

from modelops import ModelService
from tests.unit.components.harness import IMAGE, Program, run

ARGS: dict[str, Any] = {
    "image": IMAGE,
    "model_uri": "models:/linear@run-0123456789ab",
    "tracking_uri": "http://registry.ml.svc:5000",
    "namespace": "ml",
}


def refused(args: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """The refusal of arguments that can't be judged before an output in them is known."""
    said: list[str] = []
    monkeypatch.setattr(pulumi.log, "error", lambda message, resource: said.append(message))
    with pytest.raises(ValueError):
        serve(args)
    [only] = set(said)
    return only


def serve(args: Any, **how: Any) -> Program:
    return run(lambda: ModelService("demo", args), **how)
