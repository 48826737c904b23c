"""What the constructors of all components have in common."""

import functools
from collections.abc import Callable
from typing import Any, ParamSpec

import pulumi

from modelops.core.errors import ArgumentsError

Parameters = ParamSpec("Parameters")


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
