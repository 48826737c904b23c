"""The library as a Pulumi plugin: what Pulumi runs in a package whose module has no component loaded yet."""

from pulumi import ComponentResource
from pulumi.provider.experimental.host import component_provider_host

import modelops

COMPONENTS = [
    found
    for found in (getattr(modelops, name) for name in modelops.__all__)
    if isinstance(found, type) and issubclass(found, ComponentResource)
]

if __name__ == "__main__":
    component_provider_host(name="modelops", components=COMPONENTS)
