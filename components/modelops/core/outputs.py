"""Helpers for the Pulumi SDK: outputs that a plan knows, hashes, resource options."""

import hashlib
import inspect
from typing import Any, TypeVar, cast

import pulumi

T = TypeVar("T")


def is_output(value: object) -> bool:
    """Whether it is a value that is not known yet."""
    return isinstance(value, pulumi.Output) or inspect.isawaitable(value)


def plain_or(value: Any, otherwise: T) -> T:
    """`value`, but `otherwise` for an output: for what Pulumi must know when the plan is made."""
    return otherwise if is_output(value) else cast(T, value)


def whole(number: pulumi.Input[int]) -> pulumi.Output[int]:
    """A whole number, without the `.0` that Pulumi's wire adds."""
    return pulumi.Output.from_input(number).apply(int)


def text_of(number: pulumi.Input[int]) -> pulumi.Output[str]:
    """A whole number as text."""
    return whole(number).apply(str)


def with_dependencies(
    value: pulumi.Input[T], *resources: pulumi.Resource, outcome: pulumi.Output[Any] | None = None
) -> pulumi.Output[T]:
    """`value` with a dependency on `resources`; in an update it fails if `outcome` fails.

    A plan knows the result whenever it knows `value`, and still a resource that uses it is created only after
    `resources`. `Output.all(value, resource.id)` would carry the same dependency but be unknown in a plan.
    """
    output = pulumi.Output.from_input(value)

    async def dependencies() -> set[pulumi.Resource]:
        return set(await output.resources()) | set(resources)

    async def resolve() -> Any:
        if outcome is not None and not pulumi.runtime.is_dry_run():
            await outcome.future()
        return await output.future(with_unknowns=True)

    return pulumi.Output(dependencies(), resolve(), output.is_known(), output.is_secret())


def short_hash(*parts: str) -> str:
    """Twelve hex digits that depend on all `parts`."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def known_or_none(value: pulumi.Output[T]) -> pulumi.Output[T | None]:
    """`value`, or None in a plan that can't know it yet.

    Only for what doesn't exist until the plan is applied: in the plan, None is then the true answer.
    """

    async def is_known() -> bool:
        return True

    async def resolve() -> Any:
        resolved = await value.future(with_unknowns=False)
        return resolved if await value.is_known() else None

    return pulumi.Output(value.resources(), resolve(), is_known(), value.is_secret())


def register_declared_outputs(component: pulumi.ComponentResource) -> None:
    """Registers the outputs that the component's class declares."""
    component.register_outputs({name: getattr(component, name) for name in type(component).__annotations__})


def merged(opts: pulumi.ResourceOptions, **more: Any) -> pulumi.ResourceOptions:
    """`opts` merged with the options in `more`."""
    return pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(**more))


def timeouts(seconds: int) -> pulumi.CustomTimeouts:
    """How long Pulumi waits until an object is created or updated."""
    return pulumi.CustomTimeouts(create=f"{seconds}s", update=f"{seconds}s")
