"""Outputs that are known early, and the little arithmetic on them."""

import hashlib
from typing import Any, TypeVar

import pulumi

T = TypeVar("T")


def known_after(
    value: pulumi.Input[T], *resources: pulumi.Resource, outcome: pulumi.Output[Any] | None = None
) -> pulumi.Output[T]:
    """`value` as it is, plus a dependency on `resources`; in an update it fails where `outcome` does.

    A plan knows the result whenever it knows `value`, and yet a resource that uses it is created only once
    `resources` are there. `Output.all(value, resource.id)` would carry the same dependency but be unknown in a plan.
    """
    output = pulumi.Output.from_input(value)

    async def dependencies() -> set[pulumi.Resource]:
        return set(await output.resources()) | set(resources)

    async def known_value() -> Any:
        if outcome is not None and not pulumi.runtime.is_dry_run():
            await outcome.future()
        return await output.future(with_unknowns=True)

    return pulumi.Output(dependencies(), known_value(), output.is_known(), output.is_secret())


def short_hash(*parts: str) -> str:
    """Twelve hex digits that change with any of `parts`."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]
