"""What the containers of a model's life cycle run: prepare, train, publish, fetch, serve. See docs/model.md.

For training programs: `write_model`, `write_metrics`, `output_dir`. They are imported at first use: `write_model`
needs NumPy and the commands don't.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modelops_runtime.artifacts.export import write_model
    from modelops_runtime.artifacts.manifest import Manifest
    from modelops_runtime.artifacts.preprocessing import Preprocessing
    from modelops_runtime.artifacts.results import output_dir, write_metrics
    from modelops_runtime.contract import ContractError

__all__ = ["ContractError", "Manifest", "Preprocessing", "output_dir", "write_metrics", "write_model"]

_MODULES = {
    "ContractError": "contract",
    "Manifest": "artifacts.manifest",
    "Preprocessing": "artifacts.preprocessing",
    "output_dir": "artifacts.results",
    "write_metrics": "artifacts.results",
    "write_model": "artifacts.export",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
