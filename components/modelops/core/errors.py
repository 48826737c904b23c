"""The error that a component raises for wrong arguments."""

import pulumi


class ArgumentsError(pulumi.RunError, ValueError):
    """Every problem with one component's arguments, in one message. Raised before any child is created."""
