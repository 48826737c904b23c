"""The environment of a process that knows nothing of the checkout."""

import os


def clean_environment() -> dict[str, str]:
    """This process' environment without what leads Python, and pip, to the checkout's own packages."""
    return {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
