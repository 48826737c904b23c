"""The library as a Pulumi plugin. Pulumi finds it through modelops_pulumi, the module of the distribution's name."""

import typing

from pulumi import ComponentResource
from pulumi.provider.experimental.analyzer import Analyzer
from pulumi.provider.experimental.host import component_provider_host

import modelops
from modelops.core.types import SHARED

COMPONENTS = [
    export
    for export in (getattr(modelops, name) for name in modelops.__all__)
    if isinstance(export, type) and issubclass(export, ComponentResource)
]


_own_docstring = Analyzer.get_docstring


def _docstring(self: Analyzer, spec: type, name: str) -> str | None:
    """The docstring of a field, which may be in a type that `spec` extends: Pulumi reads the source of `spec` alone."""
    types = [spec, *(SHARED if typing.is_typeddict(spec) else ())]
    return next((text for each in types if (text := _own_docstring(self, each, name))), None)


Analyzer.get_docstring = _docstring  # type: ignore[method-assign, assignment]


def main() -> None:
    """Serves the components until the engine stops it. Their types start with this name, not the distribution's."""
    component_provider_host(name="modelops", components=COMPONENTS)


if __name__ == "__main__":
    main()
