"""What the constructors of all components have in common, and the options of their resources."""

import functools
from collections.abc import Callable
from typing import Any, ParamSpec

import pulumi

from modelops.core.errors import ArgumentsError

Parameters = ParamSpec("Parameters")


def child_options(component: pulumi.ComponentResource, **more: Any) -> pulumi.ResourceOptions:
    """The options of the component's resources.

    They aren't protected where the component is: Secrets, Jobs and ConfigMaps must be replaced when their content
    changes. What holds data is (`holding_data`).
    """
    return pulumi.ResourceOptions(parent=component, protect=False, **more)


def holding_data(opts: pulumi.ResourceOptions) -> pulumi.ResourceOptions:
    """`child_options` for what holds data: it is protected where the component is."""
    own = pulumi.ResourceOptions.merge(opts, None)
    own.protect = None  # taken from the parent
    return own


def arguments_in_one(constructor: Callable[Parameters, None]) -> Callable[Parameters, None]:
    """Makes a constructor say how to pass the arguments that it was given by keyword, as other resources take them.

    Taking them would need a second overload, and of a call that fits neither mypy no longer says which argument is
    wrong.
    """

    @functools.wraps(constructor)
    def construct(
        self: pulumi.ComponentResource,
        name: str,
        args: Any = None,
        opts: pulumi.ResourceOptions | None = None,
        **fields: Any,
    ) -> None:
        if fields:
            kind, given = constructor.__qualname__.partition(".")[0], ", ".join(f"{field}=…" for field in fields)
            how = f'{kind}("{name}", modelops.{kind}Args({given}), opts)'
            raise ArgumentsError(f'{kind} "{name}": its arguments must be in one object: {how}')
        call: Callable[..., None] = constructor
        call(self, name, {} if args is None else args, opts)

    return construct  # type: ignore[return-value]
