"""The certificates of the stack's own CA, as strict clients see them: a real TLS handshake on loopback."""

import socket
import ssl
import threading
from pathlib import Path

import pytest

from modelops.kubernetes.certificates import AUTHORITY, make

HOST = "elasticsearch.ml.svc"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    for name, content in make({"server": [HOST], "client": ["client"]}).items():
        (folder / name).write_bytes(content)
    return folder


def context(files: Path, purpose: ssl.Purpose, program: str) -> ssl.SSLContext:
    made = ssl.create_default_context(purpose, cafile=str(files / AUTHORITY))
    made.verify_flags |= ssl.VERIFY_X509_STRICT  # the default from Python 3.13 on
    made.verify_mode = ssl.CERT_REQUIRED
    made.load_cert_chain(files / f"{program}.crt", files / f"{program}.key")
    return made


def handshake(files: Path, host: str) -> bytes:
    """Connects to a server on loopback, both sides with their certificates; returns what the server sent."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                try:
                    with context(files, ssl.Purpose.CLIENT_AUTH, "server").wrap_socket(
                        connection, server_side=True
                    ) as tls:
                        tls.sendall(b"hello")
                except (ssl.SSLError, ConnectionError):
                    pass  # the client says why

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            with (
                socket.create_connection(listener.getsockname(), timeout=10) as connection,
                context(files, ssl.Purpose.SERVER_AUTH, "client").wrap_socket(connection, server_hostname=host) as tls,
            ):
                return tls.recv(5)
        finally:
            thread.join(10)


def test_a_strict_client_and_a_strict_server_accept_each_other(files: Path) -> None:
    assert handshake(files, HOST) == b"hello"


def test_another_host_name_is_refused(files: Path) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        handshake(files, "kibana.ml.svc")


def test_a_key_signs_either_certificates_or_connections(files: Path) -> None:
    from cryptography import x509

    def usage(name: str) -> tuple[bool, bool, bool]:
        found = x509.load_pem_x509_certificate((files / name).read_bytes()).extensions.get_extension_for_class(
            x509.KeyUsage
        )
        return found.critical, found.value.key_cert_sign, found.value.digital_signature

    assert usage(AUTHORITY) == (True, True, False)
    assert usage("server.crt") == (True, False, True)
