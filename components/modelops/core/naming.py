"""The name of a component's objects."""

from __future__ import annotations

import pulumi


def objects_name(name: str, opts: pulumi.ResourceOptions | None) -> str:
    """The component's own name, or the one that it was renamed from.

    Kubernetes can't rename an object. So what was renamed under an alias keeps its objects, and they their names, for
    as long as the alias is there.
    """
    for alias in opts.aliases or [] if opts else []:
        if isinstance(alias, pulumi.Alias) and isinstance(alias.name, str):
            return alias.name
        if isinstance(alias, str):
            return alias.rpartition("::")[2]
    return name
