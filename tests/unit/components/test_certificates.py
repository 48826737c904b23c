"""Certificates: the same at every plan until they are due, trusted by strict clients, signed by whom the team wants."""

import base64
import socket
import ssl
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from modelops import ArgumentsError, DataPipeline, MonitoringStack
from modelops.core import x509 as issuing
from modelops.core.x509 import RENEWAL_DAYS, VALID_DAYS, issue, new_authority
from tests.certificates import stored_authority
from tests.unit.components.harness import Program, container, pod, run

HOSTS = ["m-server", "m-server.watch.svc", "*.m-nodes.watch.svc"]
WEB: dict[str, Any] = {"namespace": "watch", "web": {"tls": True}}


def made_authority(key: Any = None, issuer: tuple[x509.Certificate, Any] | None = None) -> tuple[str, str]:
    """A CA as a company's own tools make one, below `issuer` or self-signed."""
    key = key or ec.generate_private_key(ec.SECP384R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "below" if issuer else "root")])
    start = datetime.now(UTC) - timedelta(days=400)
    signer = issuer[1] if issuer else key
    ca = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer[0].subject if issuer else name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=900))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .add_extension(issuing._usage(key_cert_sign=True), critical=True)
        .sign(signer, None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256())
    )
    text = ca.public_bytes(serialization.Encoding.PEM).decode()
    return text, issuing._pem(key).decode()


def generated() -> tuple[str, str]:
    ca = new_authority()
    return ca["ca.crt"].decode(), ca["ca.key"].decode()


def below_a_root() -> tuple[str, str]:
    root_key = ec.generate_private_key(ec.SECP256R1())
    root, _ = made_authority(root_key)
    text, key = made_authority(issuer=(x509.load_pem_x509_certificate(root.encode()), root_key))
    return text + root, key


AUTHORITIES: dict[str, Callable[[], tuple[str, str]]] = {
    "generated": generated,
    "ecdsa": made_authority,
    "rsa": lambda: made_authority(rsa.generate_private_key(65537, 2048)),
    "ed25519": lambda: made_authority(ed25519.Ed25519PrivateKey.generate()),
    "below a root": below_a_root,
}


def names_of(certificate: x509.Certificate) -> list[str]:
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return names.get_values_for_type(x509.DNSName)


def shake_hands(server: dict[str, bytes], trusted: str, host: str, folder: Path) -> None:
    """A TLS connection of a client that checks everything that Python can."""
    (folder / "chain").write_bytes(server["tls.crt"])
    (folder / "key").write_bytes(server["tls.key"])
    own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    own.load_cert_chain(folder / "chain", folder / "key")
    client = ssl.create_default_context(cadata=trusted)
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    left, right = socket.socketpair()

    def answer() -> None:
        with own.wrap_socket(left, server_side=True) as connection:
            connection.sendall(b"hello")

    thread = threading.Thread(target=answer)
    thread.start()
    with client.wrap_socket(right, server_hostname=host) as connection:
        assert connection.recv(5) == b"hello"
    thread.join()


@pytest.mark.parametrize("kind", AUTHORITIES)
def test_a_strict_client_that_trusts_the_authority_accepts_its_certificates(kind: str, tmp_path: Path) -> None:
    authority, key = AUTHORITIES[kind]()
    files = issue(authority, key, "server", HOSTS).files
    # Of several, the last is the root, which is what clients have.
    root = authority[authority.rindex("-----BEGIN") :]
    for host in ("m-server.watch.svc", "a.m-nodes.watch.svc"):
        shake_hands(files, root, host, tmp_path)
    assert names_of(x509.load_pem_x509_certificate(files["tls.crt"])) == HOSTS


@pytest.mark.parametrize(
    ("host", "address"), [("192.0.2.7", "192.0.2.7"), ("fd00::8", "fd00::8"), ("[FD00::8]", "fd00::8")]
)
def test_a_client_that_knows_an_address_alone_accepts_the_certificate(host: str, address: str, tmp_path: Path) -> None:
    authority, key = generated()
    files = issue(authority, key, "server", [*HOSTS, host]).files
    for known in (address, HOSTS[0]):
        shake_hands(files, authority, known, tmp_path)


def test_cert_manager_is_asked_for_addresses_apart_from_names() -> None:
    args: Any = {**WEB, "certificates": {"issuer": {"name": "company"}}, "host": "fd00::8"}
    requested = run(lambda: MonitoringStack("m", args)).one("Certificate", "m-prometheus-tls").inputs["spec"]
    assert requested["ipAddresses"] == ["fd00::8"] and "fd00::8" not in requested["dnsNames"]


@pytest.mark.parametrize("kind", AUTHORITIES)
def test_a_plan_issues_the_same_certificate_again(kind: str) -> None:
    authority, key = AUTHORITIES[kind]()
    assert issue(authority, key, "server", HOSTS) == issue(authority, key, "server", HOSTS)


def test_every_program_and_every_authority_has_a_key_of_its_own() -> None:
    one, other = generated(), generated()
    keys = {
        issue(*authority, name, hosts).files["tls.key"]
        for authority in (one, other)
        for name in ("server", "client")
        for hosts in (HOSTS, ["elsewhere"])
    }
    assert len(keys) == 8


AUTHORITY = generated()


@given(days=st.floats(0, issuing.AUTHORITY_DAYS - 1))
def test_an_up_at_any_time_leaves_half_a_year_unless_the_authority_itself_ends(days: float) -> None:
    ca = x509.load_pem_x509_certificate(AUTHORITY[0].encode())
    moment = ca.not_valid_before_utc + timedelta(days=days)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(issuing, "now", lambda: moment)
        issued = issue(*AUTHORITY, "server", HOSTS)
    certificate = x509.load_pem_x509_certificate(issued.files["tls.crt"])
    certificate.verify_directly_issued_by(ca)
    assert certificate.not_valid_before_utc <= moment < certificate.not_valid_after_utc == issued.expires
    least = min(moment + timedelta(days=VALID_DAYS - RENEWAL_DAYS), ca.not_valid_after_utc)
    assert least <= issued.expires <= moment + timedelta(days=VALID_DAYS)


def test_two_ups_half_a_year_apart_give_another_certificate_of_the_same_authority(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    authority = generated()
    first = issue(*authority, "server", HOSTS)
    start = x509.load_pem_x509_certificate(authority[0].encode()).not_valid_before_utc
    moments = {"just before": timedelta(days=RENEWAL_DAYS, seconds=-1), "then": timedelta(days=RENEWAL_DAYS)}
    found = {}
    for when, passed in moments.items():
        monkeypatch.setattr(issuing, "now", lambda passed=passed: start + passed)
        found[when] = issue(*authority, "server", HOSTS)
    assert found["just before"] == first
    second = found["then"]
    assert second.files["ca.crt"] == first.files["ca.crt"]
    assert second.files["tls.key"] != first.files["tls.key"]
    assert second.expires - first.expires == timedelta(days=RENEWAL_DAYS)
    # The old one is good for longer than any kubelet takes to bring the new one.
    shake_hands(first.files, authority[0], "m-server", tmp_path)


def secret(program: Program, name: str) -> dict[str, bytes]:
    data = program.one("core/v1:Secret", name).inputs["data"].value
    return {key: base64.b64decode(value) for key, value in data.items()}


def test_the_pods_of_a_web_end_stay_when_an_up_renews_its_certificate(monkeypatch: pytest.MonkeyPatch) -> None:
    args: Any = {**WEB, "certificates": stored_authority()}

    def up() -> Program:
        return run(lambda: MonitoringStack("m", args))

    before = up()
    later = issuing.now() + timedelta(days=RENEWAL_DAYS)
    monkeypatch.setattr(issuing, "now", lambda: later)
    after = up()
    name = "m-prometheus-tls"
    assert secret(before, name) != secret(after, name)
    assert before.one("core/v1:Secret", name).inputs["metadata"] == after.one("core/v1:Secret", name).inputs["metadata"]
    assert "immutable" not in after.one("core/v1:Secret", name).inputs
    for kind in ("Deployment", "DaemonSet", "ConfigMap"):
        for old in before.of(kind):
            if old.name != "m-certificate-expiry":
                assert after.one(kind, old.name).inputs == old.inputs


def test_a_renewed_certificate_does_not_run_a_pipeline_again(monkeypatch: pytest.MonkeyPatch) -> None:
    args: Any = {
        "namespace": "data",
        "image": "registry.example.com/model@sha256:" + "0" * 64,
        "sources": [{"uri": "s3://bucket/rows.csv", "types": {"a": "number"}}],
        "steps": [{"split": {}}],
        "engine": "dask",
        "shards": 3,
        "volume": {"storage_size": "1Gi"},
    }
    program = run(lambda: DataPipeline("p", args))
    later = issuing.now() + timedelta(days=RENEWAL_DAYS)
    monkeypatch.setattr(issuing, "now", lambda: later)
    assert run(lambda: DataPipeline("p", args)).one("Job").inputs == program.one("Job").inputs
    (engine,) = [volume for volume in pod(program.one("Job"))["volumes"] if volume["name"] == "engine"]
    assert engine["secret"]["secretName"] == "p-engine"
    assert {item["path"] for item in engine["secret"]["items"]} == {"ca.crt", "worker.crt", "worker.key"}


def test_a_team_signs_with_its_own_authority_whose_key_stays_out_of_the_cluster() -> None:
    text, key = below_a_root()
    args: Any = {**WEB, "certificates": {"ca_certificate": text, "ca_key": key}}
    program = run(lambda: MonitoringStack("m", args))
    files = secret(program, "m-prometheus-tls")
    sent = x509.load_pem_x509_certificates(files["tls.crt"])
    below, _ = x509.load_pem_x509_certificates(text.encode())
    # Clients have the root alone, so the server sends the one between.
    assert sent[1:] == [below]
    sent[0].verify_directly_issued_by(below)
    assert program.outputs["web_ca_certificate"].value == text
    assert not [found for found in program.of("core/v1:Secret") if "-ca-" in found.name]
    everything = [found.inputs for found in program.resources]
    assert key not in str(everything)


def test_cert_manager_issues_where_a_team_has_an_issuer() -> None:
    issuer = {"name": "company", "kind": "ClusterIssuer", "ca_certificate": generated()[0]}
    args: Any = {**WEB, "certificates": {"issuer": issuer}}
    program = run(lambda: MonitoringStack("m", args))
    requested = program.one("Certificate", "m-prometheus-tls").inputs["spec"]
    assert requested["secretName"] == "m-prometheus-tls"
    assert requested["issuerRef"] == {"group": "cert-manager.io", "kind": "ClusterIssuer", "name": "company"}
    assert "m-prometheus.watch.svc" in requested["dnsNames"]
    assert not [found for found in program.of("core/v1:Secret") if found.name.endswith("-tls")]
    assert program.outputs["web_ca_certificate"].value == issuer["ca_certificate"]
    # Its own metrics tell when a certificate expires.
    assert not [found for found in program.of("ConfigMap") if found.name == "m-certificate-expiry"]
    without: Any = {**WEB, "certificates": {"issuer": {"name": "company"}}}
    assert "web_ca_certificate" not in run(lambda: MonitoringStack("m", without)).outputs


def test_when_certificates_expire_is_a_metric_on_every_node() -> None:
    args: Any = {**WEB, "certificates": stored_authority()}
    program = run(lambda: MonitoringStack("m", args))
    text = program.one("ConfigMap", "m-certificate-expiry").inputs["data"]["certificates.prom"]
    expiry = x509.load_pem_x509_certificate(secret(program, "m-alertmanager-tls")["tls.crt"]).not_valid_after_utc
    labels = 'certificate="m-alertmanager-tls",certificate_namespace="watch"'
    line = f"modelops_certificate_expires_timestamp_seconds{{{labels}}} {int(expiry.timestamp())}"
    assert line in text.splitlines()
    exporter = container(program.one("DaemonSet"), "node-exporter")
    assert "--collector.textfile.directory=/etc/modelops/metrics" in exporter["args"]
    plain = run(lambda: MonitoringStack("m", {"namespace": "watch"}))
    assert "textfile" not in str(container(plain.one("DaemonSet"), "node-exporter")["args"])


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        ({}, "certificates.ca_certificate is missing, it is required unless issuer is given"),
        ({"ca_certificate": generated()[0]}, "certificates.ca_key is missing"),
        ({"ca_certificate": "text", "ca_key": "k"}, "the CA certificate must be text in PEM"),
        ({"ca_certificate": generated()[0], "ca_key": "k"}, "the CA's key must be text in PEM, without a passphrase"),
        ({"ca_certificate": generated()[0], "ca_key": generated()[1]}, "the CA's key must be that of its certificate"),
        ({"issuer": {"name": "x", "kind": "Isuer"}}, "certificates.issuer.kind is 'Isuer'"),
        ({"issuer": {"name": "x"}, "ca_key": "k"}, "must not be given together with ca_certificate"),
    ],
)
def test_a_wrong_authority_is_told_before_anything_is_made(given: dict[str, Any], rule: str) -> None:
    args: Any = {**WEB, "certificates": given}
    with pytest.raises(ArgumentsError, match=rule.replace("(", r"\(").replace("[", r"\[")) as error:
        run(lambda: MonitoringStack("m", args))
    assert "PRIVATE" not in str(error.value)


def test_an_authority_at_its_end_is_told_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    authority = generated()
    monkeypatch.setattr(issuing, "now", lambda: datetime.now(UTC) + timedelta(days=issuing.AUTHORITY_DAYS))
    with pytest.raises(ValueError, match="the CA certificate has expired, at 20"):
        issue(*authority, "server", HOSTS)
