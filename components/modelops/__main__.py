"""The library as a Pulumi plugin. Pulumi finds it through modelops_pulumi, the module of the distribution's name."""

from pulumi import ComponentResource
from pulumi.provider.experimental.host import component_provider_host

import modelops

COMPONENTS = [
    export
    for export in (getattr(modelops, name) for name in modelops.__all__)
    if isinstance(export, type) and issubclass(export, ComponentResource)
]


def main() -> None:
    """Serves the components until the engine stops it. Their types start with this name, not the distribution's."""
    component_provider_host(name="modelops", components=COMPONENTS)


if __name__ == "__main__":
    main()
