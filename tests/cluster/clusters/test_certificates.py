"""Certificates renewed by an `up`, or by cert-manager: the pods stay, and whoever trusts the CA notices nothing."""

import re
import socket
import ssl
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from modelops.core import x509
from tests.cluster.clusters import cert_manager
from tests.cluster.monitoring.tls_support import web_with_tls
from tests.cluster.provider.harness import Stack
from tests.cluster.support import eventually, forwarded, kubectl, objects

pytestmark = [pytest.mark.clusters]


@pytest.fixture
def stack(namespace: str, tmp_path: Path) -> Iterator[Stack]:
    made = Stack(tmp_path / "stack", namespace=namespace)
    yield made
    made.destroy(succeed=None)


def served(url: str) -> bytes:
    """The certificate that the server sends."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    place = urlsplit(url)
    with (
        socket.create_connection((place.hostname, place.port), 10) as plain,
        context.wrap_socket(plain) as connection,
    ):
        return connection.getpeercert(binary_form=True) or b""


def expiry(namespace: str) -> float:
    """When the certificates expire, by node-exporter."""
    with (
        forwarded(namespace, "daemonset/watch-node-exporter", 9100) as port,
        urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer,
    ):
        text = answer.read().decode()
    values = re.findall(r"^modelops_certificate_expires_timestamp_seconds\{.*\} (\S+)$", text, re.M)
    assert len(values) == 2, text[-2000:]
    return min(map(float, values))


@contextmanager
def requests(urls: list[str], trust: ssl.SSLContext) -> Iterator[list[str]]:
    """Requests one after the other, each over a new connection. Yields the list of what failed."""
    failed: list[str] = []
    done = threading.Event()

    def ask() -> None:
        while not done.wait(0.05):
            for url in urls:
                try:
                    urllib.request.urlopen(f"{url}/-/ready", timeout=10, context=trust).read()
                except (OSError, HTTPException) as error:
                    failed.append(f"{url}: {error!r}")

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield failed
    finally:
        done.set()
        thread.join()


def test_an_up_renews_certificates_without_a_failed_request_or_another_pod(
    namespace: str, stack: Stack, platform_env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=privileged", "--overwrite")

    program = web_with_tls(namespace, node_exporter=True)

    def pods() -> set[str]:
        return {pod["metadata"]["uid"] for pod in objects("pods", namespace)}

    # Half a year ago: what was issued then is still valid, and due.
    today = x509.now()
    monkeypatch.setattr(x509, "now", lambda: today - timedelta(days=x509.RENEWAL_DAYS))
    stack.up(program)
    stack.unchanged(program)
    found = stack.outputs()
    trust = ssl.create_default_context(cadata=found["web_ca_certificate"])
    trust.verify_flags |= ssl.VERIFY_X509_STRICT
    trust.check_hostname = False  # the load balancer's address was not known when the certificates were made
    urls = [found["prometheus_url"], found["alertmanager_url"]]
    before, running = [served(url) for url in urls], pods()

    monkeypatch.setattr(x509, "now", lambda: today)
    with requests(urls, trust) as failed:
        outcome = stack.up(program)
        eventually(lambda: all(served(url) != old for url, old in zip(urls, before, strict=True)), 240)
    assert failed == []
    assert pods() == running
    assert set(outcome.changed()) == {"watch-prometheus-tls", "watch-alertmanager-tls", "watch-certificate-expiry"}
    assert stack.outputs()["web_ca_certificate"] == found["web_ca_certificate"]
    eventually(lambda: expiry(namespace) > today.timestamp() + (x509.VALID_DAYS - 1) * 86400, 240)
    stack.unchanged(program)


@pytest.mark.long  # cert-manager is built for it
def test_cert_manager_issues_and_renews_without_a_failed_request_another_pod_or_a_change_in_the_plan(
    namespace: str, stack: Stack, platform_env: dict[str, str], tmp_path: Path
) -> None:
    with cert_manager.installed(tmp_path / "cert-manager.log"):
        authority = cert_manager.issuer(namespace, "company")
        signer = {"issuer": {"name": "company", "ca_certificate": authority}}
        program = web_with_tls(namespace, node_exporter=False, certificates=signer)
        stack.up(program)
        found = stack.outputs()
        assert found["web_ca_certificate"] == authority
        trust = ssl.create_default_context(cadata=authority)
        trust.verify_flags |= ssl.VERIFY_X509_STRICT
        trust.check_hostname = False  # the load balancer's address was not known when the certificates were asked for
        urls = [found["prometheus_url"], found["alertmanager_url"]]
        running = {pod["metadata"]["uid"] for pod in objects("pods", namespace)}
        with requests(urls, trust) as failed:
            before = [served(url) for url in urls]
            for name in ("watch-prometheus-tls", "watch-alertmanager-tls"):
                cert_manager.renew(namespace, name)
            eventually(lambda: all(served(url) != old for url, old in zip(urls, before, strict=True)), 240)
        assert failed == []
        assert {pod["metadata"]["uid"] for pod in objects("pods", namespace)} == running
        stack.unchanged(program)
        stack.destroy()
