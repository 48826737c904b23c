"""The library as a Pulumi plugin. Pulumi finds it through modelops_pulumi, the module of the distribution's name."""

from pulumi import ComponentResource
from pulumi.provider.experimental.host import component_provider_host

import modelops

COMPONENTS = [
    found
    for found in (getattr(modelops, name) for name in modelops.__all__)
    if isinstance(found, type) and issubclass(found, ComponentResource)
]


def main() -> None:
    """Serves the components until the engine ends it. Their types begin with this name, not with the distribution's."""
    component_provider_host(name="modelops", components=COMPONENTS)


if __name__ == "__main__":
    main()
