"""Packages that only some addresses need."""

from importlib import import_module
from types import ModuleType

from modelops_runtime.contract import ConfigurationError


def optional(module: str, what: str) -> ModuleType:
    """A module of the extra `stores`. Raises ConfigurationError, which says for `what` it is needed and who has it."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"{what} needs the package {error.name}: use an image that has it, such as the target `fetch` of"
            " model/Dockerfile, or add it to yours: pip install 'modelops-runtime[stores]'"
        ) from error
