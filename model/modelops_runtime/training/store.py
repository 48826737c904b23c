"""Object stores and folders alike, by obstore."""

import os
from typing import Any

from modelops_runtime.contract import ConfigurationError


def open_store(uri: str, name: str) -> Any:
    """obstore's store for an address (s3://, gs://, az://, file://), configured by its usual variables (AWS_*, …).

    Raises ConfigurationError, which names the address's variable (`name`), for an unknown kind of store.
    """
    import obstore.store

    options: dict[str, Any] = {}
    if os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://"):
        options["client_options"] = {"allow_http": True}
    if uri.startswith("file://"):
        options["mkdir"] = True
    try:
        return obstore.store.from_url(uri, **options)
    except Exception as error:  # its exceptions have no base of their own
        raise ConfigurationError(f"{name} is {uri!r}: {first_line(error)}") from error


def first_line(error: Exception) -> str:
    """An exception's message without the trace that obstore adds."""
    return (str(error).splitlines() or [type(error).__name__])[0]
