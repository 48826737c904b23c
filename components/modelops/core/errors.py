"""What a component raises when its arguments can't work."""

import pulumi


class ArgumentsError(pulumi.RunError, ValueError):
    """Wrong arguments of one component, all of them in one message. Raised before any child is created."""
