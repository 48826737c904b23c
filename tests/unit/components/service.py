"""What the tests of ModelService share."""

from typing import Any

from modelops import ModelService
from tests.unit.components.harness import IMAGE, Program, run

ARGS: dict[str, Any] = {
    "image": IMAGE,
    "model_uri": "models:/linear@run-0123456789ab",
    "tracking_uri": "http://registry.ml.svc:5000",
    "namespace": "ml",
}


def serve(args: Any, **how: Any) -> Program:
    return run(lambda: ModelService("demo", args), **how)
