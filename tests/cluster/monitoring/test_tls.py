"""Prometheus and Alertmanager in HTTPS alone, and still on speaking terms with each other."""

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.monitoring.tls_support import web_with_tls
from tests.cluster.provider.harness import Stack
from tests.cluster.support import eventually

pytestmark = [pytest.mark.monitoring, pytest.mark.long]


@pytest.fixture
def stack(namespace: str, tmp_path: Path) -> Iterator[Stack]:
    made = Stack(tmp_path / "stack", namespace=namespace)
    yield made
    made.destroy(succeed=None)


def test_web_ends_speak_tls_and_whoever_asks_trusts_them(
    namespace: str, stack: Stack, platform_env: dict[str, str]
) -> None:
    program = web_with_tls(namespace, node_exporter=False)
    stack.up(program)
    found = stack.outputs()
    trust = ssl.create_default_context(cadata=found["web_ca_certificate"])
    # The load balancer's address was not known when the certificates were made.
    trust.check_hostname = False

    def get(path: str) -> Any:
        with urllib.request.urlopen(f"{found['prometheus_url']}{path}", timeout=10, context=trust) as answer:
            return json.load(answer)["data"]

    assert found["prometheus_url"].startswith("https://") and found["alertmanager_url"].startswith("https://")
    eventually(lambda: get("/api/v1/alertmanagers")["activeAlertmanagers"], 60)

    def up() -> set[str]:
        targets = get("/api/v1/targets?state=active")["activeTargets"]
        return {
            each["scrapeUrl"] for each in targets if each["health"] == "up" and each["scrapeUrl"].startswith("https")
        }

    eventually(lambda: {url.rpartition(":")[2] for url in up()} >= {"9090/metrics", "9093/metrics"}, 60)
    with pytest.raises(urllib.error.HTTPError):  # HTTP to an HTTPS server
        urllib.request.urlopen(found["prometheus_url"].replace("https", "http"), timeout=10)
    stack.unchanged(program)
