"""What changes reaches what runs, with the next `up` alone; nothing that was kept is lost, not even by a destroy."""

import json
import time
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pulumi
import pulumi_kubernetes as k8s
import pytest

from modelops import MonitoringStack
from modelops.core.assets import assets
from modelops.monitoring import prometheus
from tests.cluster.monitoring import receiver
from tests.cluster.monitoring.panels import ask
from tests.cluster.provider.harness import Stack
from tests.cluster.support import eventually, exposure, get_json, objects, platform_facts
from tests.cluster.training.registry import platform_image

pytestmark = [pytest.mark.monitoring, pytest.mark.long]

OFF = {"enabled": False}
UP = 'up{job="prometheus"}'
ALERT = "TargetMissing"


@dataclass
class Monitoring:
    """A monitoring stack whose receivers a test may change."""

    namespace: str
    stack: Stack
    program: Callable[..., Callable[[k8s.Provider], Mapping[str, Any]]]
    """The program with that token for the webhook, and further settings of Prometheus."""

    def url(self, part: str) -> str:
        return str(self.stack.outputs()[f"{part}_url"])

    def volumes(self) -> dict[str, str]:
        """The volumes' identities by name."""
        found = objects("persistentvolumeclaims", self.namespace)
        return {each["metadata"]["name"]: each["spec"]["volumeName"] for each in found}

    def pods(self) -> dict[str, str]:
        """The pods' identities by the program in them."""
        found = objects("pods", self.namespace, "--selector", "app.kubernetes.io/instance=watch")
        return {
            each["metadata"]["labels"]["app.kubernetes.io/name"]: each["metadata"]["uid"]
            for each in found
            if "deletionTimestamp" not in each["metadata"]
        }

    def replaced(self, part: str, before: Mapping[str, str]) -> None:
        """Waits for another pod of that part: an `up` may end before a Recreate has begun. No other pod is another."""
        eventually(lambda: self.pods().get(part, before[part]) != before[part], 60)
        after = self.pods()
        assert {name: uid for name, uid in after.items() if name != part} == {
            name: uid for name, uid in before.items() if name != part
        }

    def waits_for(self) -> float:
        """How long, in seconds, the alert has to be true before it fires, as Prometheus has it."""
        groups = get_json(f"{self.url('prometheus')}/api/v1/rules")["data"]["groups"]
        [found] = [rule["duration"] for group in groups for rule in group["rules"] if rule["name"] == ALERT]
        return float(found)

    def raise_alert(self, name: str) -> None:
        """An alert that Alertmanager is told of, as Prometheus would."""
        self._post("/api/v2/alerts", [{"labels": {"alertname": name, "severity": "critical"}}])

    def silence(self, name: str) -> str:
        """A silence for an alert; its id."""
        now = datetime.now(UTC)
        matchers = [{"name": "alertname", "value": name, "isRegex": False, "isEqual": True}]
        times = {"startsAt": now.isoformat(), "endsAt": (now + timedelta(hours=2)).isoformat()}
        return str(
            self._post("/api/v2/silences", {"matchers": matchers, **times, "createdBy": "tests", "comment": "tests"})[
                "silenceID"
            ]
        )

    def silences(self) -> list[str]:
        """The silences that hold."""
        found = get_json(f"{self.url('alertmanager')}/api/v2/silences")
        return [each["id"] for each in found if each["status"]["state"] == "active"]

    def _post(self, path: str, body: object) -> Any:
        request = urllib.request.Request(
            self.url("alertmanager") + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read() or b"null")


@pytest.fixture
def monitoring(namespace: str, platform_env: dict[str, str], test_image: str, tmp_path: Path) -> Iterator[Monitoring]:
    facts = platform_facts()
    hook = receiver.start(namespace, test_image)

    def program(token: str, **settings: Any) -> Callable[[k8s.Provider], Mapping[str, Any]]:
        parts: dict[str, Any] = {
            part: {"image": platform_image(facts, part), "retain_volume": False}
            for part in ("prometheus", "alertmanager")
        }

        def build(provider: k8s.Provider) -> Mapping[str, Any]:
            webhook = {"url": hook, "token": pulumi.Output.secret(token)}
            args: Any = {
                "namespace": namespace,
                "watched_namespaces": [namespace],
                "expose": exposure(),
                "prometheus": {**parts["prometheus"], **settings},
                "alertmanager": {**parts["alertmanager"], "receivers": {"webhook": webhook}},
                "node_exporter": OFF,
                "kube_state_metrics": OFF,
            }
            made = MonitoringStack("watch", args, pulumi.ResourceOptions(provider=provider))
            return {key: getattr(made, key) for key in ("prometheus_url", "alertmanager_url")}

        return build

    stack = Stack(tmp_path / "stack", namespace=namespace)
    try:
        stack.up(program("the first token"))
        yield Monitoring(namespace, stack, program)
    finally:
        stack.destroy(succeed=None)


def test_a_changed_rule_reaches_prometheus_which_keeps_its_metrics(
    monitoring: Monitoring, monkeypatch: pytest.MonkeyPatch, figure: Callable[[str], None]
) -> None:
    eventually(lambda: ask(monitoring.url("prometheus"), UP), 60)
    [before] = ask(monitoring.url("prometheus"), f"timestamp({UP})")
    volumes, pods = monitoring.volumes(), monitoring.pods()
    assert monitoring.waits_for() == 300
    rules = assets("monitoring/assets/rules")
    changed = rules | {"platform.yaml": rules["platform.yaml"].replace("for: 5m", "for: 7m")}
    monkeypatch.setattr(
        prometheus, "assets", lambda folder: changed if folder == "monitoring/assets/rules" else assets(folder)
    )

    start = time.monotonic()
    outcome = monitoring.stack.up(monitoring.program("the first token"))
    assert outcome.changed().keys() == {"watch-prometheus"}
    monitoring.replaced("prometheus", pods)
    eventually(lambda: monitoring.waits_for() == 420, 60)
    figure(f"monitoring: a changed rule was in Prometheus {time.monotonic() - start:.0f} s after the start of the `up`")
    assert monitoring.volumes() == volumes
    # What was scraped by the pod before, at its own time.
    asked = {"query": UP, "time": before["value"][1]}
    answer = get_json(f"{monitoring.url('prometheus')}/api/v1/query?{urllib.parse.urlencode(asked)}")
    assert [each["value"][1] for each in answer["data"]["result"]] == ["1"]
    eventually(lambda: ask(monitoring.url("prometheus"), UP), 60)
    monitoring.stack.unchanged(monitoring.program("the first token"))


def test_a_volume_that_stayed_is_no_obstacle_and_is_taken_up_again_by_its_name(monitoring: Monitoring) -> None:
    def claims() -> set[str]:
        return {name for name in monitoring.volumes() if name.startswith("watch-prometheus-")}

    kept = monitoring.program("a token", retain_volume=True)
    monitoring.stack.up(kept)
    eventually(lambda: ask(monitoring.url("prometheus"), UP), 60)
    [before] = ask(monitoring.url("prometheus"), f"timestamp({UP})")
    [left] = claims()
    monitoring.stack.destroy()
    assert claims() == {left}

    monitoring.stack.up(kept)
    assert len(claims()) == 2, "a stack that is made again has a volume of its own"

    monitoring.stack.up(monitoring.program("a token", claim=left))
    asked = {"query": UP, "time": before["value"][1]}

    def of_then() -> list[str]:
        answer = get_json(f"{monitoring.url('prometheus')}/api/v1/query?{urllib.parse.urlencode(asked)}")
        return [each["value"][1] for each in answer["data"]["result"]]

    eventually(lambda: of_then() == ["1"], 90)
    monitoring.stack.unchanged(monitoring.program("a token", claim=left))


def test_another_storage_class_is_another_volume_and_the_old_one_goes_last(monitoring: Monitoring) -> None:
    claims = objects("persistentvolumeclaims", monitoring.namespace)
    [claim] = [each for each in claims if each["metadata"]["name"].startswith("watch-prometheus-")]
    # To name the cluster's default is to name another one than none, as far as Pulumi knows.
    old, storage_class = claim["metadata"]["name"], claim["spec"]["storageClassName"]
    pods = monitoring.pods()
    monitoring.stack.up(monitoring.program("the first token", storage_class=storage_class))
    monitoring.replaced("prometheus", pods)
    eventually(lambda: old not in monitoring.volumes(), 60)
    [new] = [name for name in monitoring.volumes() if name.startswith("watch-prometheus-")]
    assert new != old
    monitoring.stack.unchanged(monitoring.program("the first token", storage_class=storage_class))


def test_changed_receivers_reach_alertmanager_which_keeps_its_silences(
    monitoring: Monitoring, figure: Callable[[str], None]
) -> None:
    def sent_with(name: str) -> str:
        """The credentials with which an alert came to the receiver."""
        [found, *_] = eventually(lambda: receiver.alerts(monitoring.namespace, name), 90, 2)
        return str(found["authorization"])

    quiet = f"Quiet{uuid.uuid4().hex[:4]}"
    silence = monitoring.silence(quiet)
    monitoring.raise_alert("Before")
    assert sent_with("Before") == "Bearer the first token"
    volumes, pods = monitoring.volumes(), monitoring.pods()

    start = time.monotonic()
    outcome = monitoring.stack.up(monitoring.program("the second token"))
    assert outcome.changed().keys() == {"watch-alertmanager"}
    monitoring.replaced("alertmanager", pods)
    assert monitoring.volumes() == volumes
    eventually(lambda: monitoring.silences() == [silence], 60)
    figure(f"monitoring: Alertmanager had its receivers {time.monotonic() - start:.0f} s after the start of the `up`")
    monitoring.raise_alert(quiet)
    monitoring.raise_alert("After")
    assert sent_with("After") == "Bearer the second token"
    assert receiver.alerts(monitoring.namespace, quiet) == []
    assert "the second token" not in monitoring.stack.state_text()
    monitoring.stack.unchanged(monitoring.program("the second token"))
