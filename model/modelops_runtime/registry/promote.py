"""Marks the version that now serves: `modelops-promote`, after a rollout has come to its end.

The registered model's alias `serving` then points to that version, and trainings compare their metrics with it. A
rollout that fails never gets here, so the alias never claims what does not serve. Standard library only: the serving
image runs it.
"""

from modelops_runtime.contract import Environment, PromoteContract
from modelops_runtime.registry.sources.client import Registry
from modelops_runtime.registry.sources.mlflow import parse_model_uri


def promote(settings: PromoteContract) -> str:
    """Sets the alias; what was done, in words."""
    registry = Registry(settings.tracking_uri, settings.wait_seconds)
    name, alias, version = parse_model_uri(settings.model_uri)
    version = registry.version(name, alias, version)
    registry.set_alias(name, settings.serving_alias, version)
    return f"{name}@{settings.serving_alias} is version {version} ({settings.model_uri})"


def main() -> None:
    env = Environment()
    settings = PromoteContract.read(env)
    env.check()
    print(promote(settings), flush=True)
