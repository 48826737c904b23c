"""How a component names its objects."""

from __future__ import annotations

import pulumi


def objects_name(name: str, opts: pulumi.ResourceOptions | None) -> str:
    """The component's name, or the one it was renamed from.

    Kubernetes can't rename an object, so a component renamed under an alias keeps its objects and their names for as
    long as it has the alias.
    """
    for alias in opts.aliases or [] if opts else []:
        if isinstance(alias, pulumi.Alias) and isinstance(alias.name, str):
            return alias.name
        if isinstance(alias, str):
            return alias.rpartition("::")[2]
    return name
