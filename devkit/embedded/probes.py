"""Readiness probes of the parts."""

import http.client
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

from devkit.embedded.layout import Layout

Probe = Callable[[], bool]


def listens(path: Path) -> Probe:
    """Whether a process listens on a Unix socket."""

    def ready() -> bool:
        with socket.socket(socket.AF_UNIX) as trial:
            return trial.connect_ex(str(path)) == 0

    return ready


def plain(address: str, port: int, path: str) -> Probe:
    """Whether HTTP GET returns 200."""
    return lambda: _answers(http.client.HTTPConnection(address, port, timeout=3), path)


def encrypted(address: str, port: int, path: str, context: Callable[[], ssl.SSLContext]) -> Probe:
    """Whether HTTPS GET returns 200."""
    return lambda: _answers(http.client.HTTPSConnection(address, port, timeout=5, context=context()), path)


def _answers(connection: http.client.HTTPConnection, path: str) -> bool:
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def tls(layout: Layout, authority: str, client: str) -> Callable[[], ssl.SSLContext]:
    """Trusts only one of our authorities, and presents one of our client certificates."""

    def context() -> ssl.SSLContext:
        result = ssl.create_default_context(cafile=str(layout.pki / f"{authority}.crt"))
        result.load_cert_chain(layout.pki / f"{client}.crt", layout.pki / f"{client}.key")
        return result

    return context


def unverified() -> Callable[[], ssl.SSLContext]:
    """For parts that generate their own certificate; these probes only check that they are alive."""

    def context() -> ssl.SSLContext:
        result = ssl.create_default_context()
        result.check_hostname = False
        result.verify_mode = ssl.CERT_NONE
        return result

    return context
