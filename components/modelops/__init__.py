"""Pulumi components for the whole life of a machine-learning model on Kubernetes."""

import ast
import importlib
import pkgutil
from typing import Any

# What there is, and in which module, is written once, in the stub that type checkers and editors read. Modules are
# loaded when something of them is used (PEP 562), so a program pays for the components that it has.
_MODULES = {
    alias.name: str(node.module)
    for node in ast.parse(pkgutil.get_data(__name__, "__init__.pyi") or b"").body
    if isinstance(node, ast.ImportFrom)
    for alias in node.names
}
__all__ = sorted(_MODULES, key=lambda name: (not name.isupper(), name))


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value = getattr(importlib.import_module(_MODULES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
