"""Small pieces around the Pulumi SDK: outputs that a plan knows, hashes, and options with something added."""

import hashlib
from typing import Any, TypeVar

import pulumi

T = TypeVar("T")


def with_dependencies(
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


def known_or_none(value: pulumi.Output[T]) -> pulumi.Output[T | None]:
    """`value`, or None in a plan that can't know it yet.

    Only for what doesn't exist before that plan is carried out: there the answer in the plan is None for certain.
    """

    async def known() -> bool:
        return True

    async def or_none() -> Any:
        found = await value.future(with_unknowns=False)
        return found if await value.is_known() else None

    return pulumi.Output(value.resources(), or_none(), known(), value.is_secret())


def merged(opts: pulumi.ResourceOptions, **more: Any) -> pulumi.ResourceOptions:
    """`opts` with the options `more` added, as `pulumi.ResourceOptions.merge` adds them."""
    return pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(**more))


def timeouts(seconds: int) -> pulumi.CustomTimeouts:
    """How long Pulumi waits for an object, to be made or to be changed."""
    return pulumi.CustomTimeouts(create=f"{seconds}s", update=f"{seconds}s")
