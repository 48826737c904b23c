"""Packages that only some addresses need."""

from importlib import import_module
from types import ModuleType

from modelops_runtime.contract import ConfigurationError

_FETCH = "use an image that has it, such as the target `fetch` of model/Dockerfile"


def optional(module: str, what: str, *, extra: str = "stores", remedy: str = _FETCH) -> ModuleType:
    """A module of an extra. Raises ConfigurationError, which says for `what` it is needed and how to get it."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"{what} needs the package {error.name}: {remedy}, or add it to yours:"
            f" pip install 'modelops-runtime[{extra}]'"
        ) from error
