"""Object stores and folders alike, by obstore, which takes its settings from each store's usual variables."""

import os
import re
from datetime import timedelta
from typing import Any

from modelops_runtime.artifacts.extras import optional
from modelops_runtime.contract import ConfigurationError

SCHEMES = ("s3", "gs", "az", "abfs", "abfss", "wasbs")
"""The kinds of object stores' addresses. MLflow's and Hadoop's name for Azure is wasbs."""
_ENDPOINTS = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT", "AZURE_STORAGE_ENDPOINT", "GOOGLE_SERVICE_ACCOUNT_KEY")
"""Variables in which the address of a server of one's own may be; Google's is inside the account's JSON."""
_QUICK = {"max_retries": 2, "retry_timeout": timedelta(seconds=5)}


def is_store(uri: str) -> bool:
    """Whether an address is an object store's."""
    return uri.partition("://")[0] in SCHEMES


def open_store(uri: str, name: str, *, patient: bool = True) -> Any:
    """obstore's store for an address (s3://, gs://, az://, file:// …), configured by its usual variables (AWS_*, …).

    Unless it is `patient`, it leaves waiting for a server to its caller. Raises ConfigurationError, which names the
    address's variable (`name`), for an unknown kind of store.
    """
    obstore = optional("obstore.store", f"{name} {uri}")
    options: dict[str, Any] = {"client_options": client_options()} if is_store(uri) else {}
    if is_store(uri) and not patient:
        options["retry_config"] = _QUICK
    if uri.startswith("file://"):
        options["mkdir"] = True
    try:
        return obstore.from_url(_known(uri), **options)
    except Exception as error:  # its exceptions have no base of their own
        raise ConfigurationError(f"{name} is {uri!r}: {first_line(error)}") from error


def client_options() -> dict[str, Any]:
    """Plain HTTP where a variable names such a server."""
    plain = any(re.search(r'(^|")http://', os.environ.get(name, "")) for name in _ENDPOINTS)
    return {"allow_http": True} if plain else {}


def first_line(error: Exception) -> str:
    """An exception's message without the trace that obstore adds."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def _known(uri: str) -> str:
    """The address as obstore knows it: Azure's by its newer name."""
    return re.sub(r"^wasbs://([^/]+)\.blob\.", r"abfss://\1.dfs.", uri)
