"""How a component names its objects."""

from __future__ import annotations

import pulumi

from modelops.core.outputs import short_hash

LONGEST_JOB = 54
"""Of a Job's resource name: its name in the cluster has nine characters more, and is the value of a label."""


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


def job_name(name: str) -> str:
    """`name`, or its beginning and a hash of it, so that Pulumi's eight digits behind it fit into a label."""
    return name if len(name) <= LONGEST_JOB else f"{name[: LONGEST_JOB - 9]}-{short_hash(name)[:8]}"
