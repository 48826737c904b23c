"""The error that a component raises for wrong arguments."""

from collections.abc import Iterator
from contextlib import contextmanager

import pulumi


class ArgumentsError(pulumi.RunError, ValueError):
    """Every problem with one component's arguments, in one message. Raised before any child is created."""


@contextmanager
def logged(resource: pulumi.Resource | None) -> Iterator[None]:
    """Logs an ArgumentsError about an output. Pulumi's own report is a long one, in which ours would be lost."""
    try:
        yield
    except ArgumentsError as error:
        pulumi.log.error(str(error), resource)
        raise
