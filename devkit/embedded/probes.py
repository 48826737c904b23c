"""Questions that show whether a part answers."""

import http.client
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

from devkit.embedded.layout import Layout

Probe = Callable[[], bool]


def listens(path: Path) -> Probe:
    """Whether someone listens on a Unix socket."""

    def ready() -> bool:
        with socket.socket(socket.AF_UNIX) as trial:
            return trial.connect_ex(str(path)) == 0

    return ready


def plain(address: str, port: int, path: str) -> Probe:
    """Whether HTTP GET gives 200."""
    return lambda: _answers(http.client.HTTPConnection(address, port, timeout=3), path)


def encrypted(address: str, port: int, path: str, context: Callable[[], ssl.SSLContext]) -> Probe:
    """Whether HTTPS GET gives 200."""
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
    """Trusts one of our authorities only, and shows one of our certificates."""

    def context() -> ssl.SSLContext:
        made = ssl.create_default_context(cafile=str(layout.pki / f"{authority}.crt"))
        made.load_cert_chain(layout.pki / f"{client}.crt", layout.pki / f"{client}.key")
        return made

    return context


def unverified() -> Callable[[], ssl.SSLContext]:
    """For parts that make their own certificate; only asked whether they are alive."""

    def context() -> ssl.SSLContext:
        made = ssl.create_default_context()
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
        return made

    return context
