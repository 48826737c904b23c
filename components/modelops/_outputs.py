"""Outputs that are known early, and the little arithmetic on them."""

import hashlib
from typing import Any, TypeVar

import pulumi

T = TypeVar("T")


def known_after(value: pulumi.Input[T], *resources: pulumi.Resource) -> pulumi.Output[T]:
    """`value` as it is, plus a dependency on `resources`.

    A plan knows the result whenever it knows `value`, and yet a resource that uses it is created only once
    `resources` are there. `Output.all(value, resource.id)` would carry the same dependency but be unknown in a plan.
    """
    output = pulumi.Output.from_input(value)

    async def dependencies() -> set[pulumi.Resource]:
        return set(await output.resources()) | set(resources)

    async def known_value() -> Any:
        return await output.future(with_unknowns=True)

    return pulumi.Output(dependencies(), known_value(), output.is_known(), output.is_secret())


def short_hash(*parts: str) -> str:
    """Twelve hex digits that change with any of `parts`."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]
