"""The library's assets, checked by the tools of their own formats."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from modelops.monitoring.prometheus import render_config
from tests.assets.conftest import Promtool

REPOSITORY = Path(__file__).resolve().parents[2]
LIBRARY = REPOSITORY / "components" / "modelops"
ASSETS = LIBRARY / "monitoring" / "assets"
RULES = sorted((ASSETS / "rules").glob("*.yaml"))
RULE_TESTS = REPOSITORY / "tests" / "assets" / "rules"


def alerts() -> list[dict[str, Any]]:
    found = []
    for file in RULES:
        for group in yaml.safe_load(file.read_text())["groups"]:
            found += [rule for rule in group["rules"] if "alert" in rule]
    return found


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and GitLab make them for plain words."""
    return {heading.strip().lower().replace(" ", "-") for heading in re.findall(r"^#+ (.+)$", page.read_text(), re.M)}


@pytest.mark.parametrize("file", RULES, ids=lambda file: file.stem)
def test_rules_are_valid(file: Path, promtool: Promtool) -> None:
    done = promtool("check", "rules", file)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("file", sorted(RULE_TESTS.glob("*.test.yaml")), ids=lambda file: file.name)
def test_rules_are_quiet_just_before_and_fire_just_after(file: Path, promtool: Promtool) -> None:
    done = promtool("test", "rules", file)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_file_of_rules_has_its_tests() -> None:
    assert {file.stem for file in RULES} <= {file.name.removesuffix(".test.yaml") for file in RULE_TESTS.iterdir()}


def static(address: str) -> dict[str, Any]:
    """How Prometheus finds an only Alertmanager."""
    return {"static_configs": [{"targets": [address]}]}


@pytest.mark.parametrize("namespaces", [None, ["ml", "watch"]], ids=["all namespaces", "some namespaces"])
@pytest.mark.parametrize("alertmanager", [None, "alertmanager:9093"], ids=["no alerts", "alerts"])
@pytest.mark.parametrize("tls_name", [None, "watch-alertmanager"], ids=["plain", "TLS"])
def test_scrape_configuration_is_valid(
    tmp_path: Path, promtool: Promtool, namespaces: list[str] | None, alertmanager: str | None, tls_name: str | None
) -> None:
    # promtool reads the files that the configuration names, so they are made here.
    text = render_config(namespaces, {"stack": "dev"}, alertmanager and static(alertmanager), tls_name, several=True)
    text = text.replace("/etc/modelops/web", str(tmp_path))
    text = text.replace("/etc/prometheus/rules", str(ASSETS / "rules"))
    text = text.replace("/var/run/secrets/kubernetes.io/serviceaccount", str(tmp_path))
    for name in ("token", "ca.crt"):
        (tmp_path / name).touch()
    (tmp_path / "prometheus.yml").write_text(text)
    done = promtool("check", "config", tmp_path / "prometheus.yml")
    if "field kubernetes_sd_configs not found" in done.stderr:
        pytest.skip("this promtool is built without Kubernetes discovery (Debian's is): set PROMTOOL to another")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_asset_says_what_the_component_renders() -> None:
    """Without anything that differs from stack to stack, the rendered configuration is the asset."""
    asset = yaml.safe_load((ASSETS / "prometheus" / "prometheus.yml").read_text())
    assert yaml.safe_load(render_config(None, {}, static("alertmanager:9093"))) == asset


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert["alert"])
def test_each_alert_says_what_to_do(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in {"none", "warning", "critical"}
    assert {"summary", "description", "runbook"} <= alert["annotations"].keys()
    page, _, anchor = alert["annotations"]["runbook"].partition("#")
    assert anchor == alert["alert"].lower()
    assert anchor in anchors(REPOSITORY / page)


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: f"{alert['alert']}-{alert['labels'].get('window', '')}")
def test_each_alert_has_a_test_that_it_is_quiet_and_one_that_it_fires(alert: dict[str, Any]) -> None:
    expected = []
    for file in sorted(RULE_TESTS.glob("*.test.yaml")):
        for test in yaml.safe_load(file.read_text())["tests"]:
            expected += [
                found["exp_alerts"] for found in test.get("alert_rule_test", []) if found["alertname"] == alert["alert"]
            ]
    labels = alert["labels"].items()
    fired = [one for found in expected for one in found if labels <= one["exp_labels"].items()]
    assert fired, f"add a test to tests/assets/rules in which {alert['alert']} fires with {alert['labels']}"
    if alert["alert"] != "Watchdog":  # which is there to fire
        assert any(not any(labels <= one["exp_labels"].items() for one in found) for found in expected)


def blip_id(alert: dict[str, Any]) -> str:
    return "-".join(filter(None, [alert["alert"], alert["labels"].get("sign")]))


BLIPS = yaml.safe_load((RULE_TESTS / "blips.yaml").read_text())
SAMPLE_SECONDS = 15
BUDGETS = [alert for alert in alerts() if "window" in alert["labels"]]
"""Their windows are long enough to pass over a blip without being pending; slo.test.yaml has those."""
TIMED = [alert for alert in alerts() if alert not in BUDGETS and alert["alert"] != "Watchdog"]
"""All others but the one that is there to fire."""


@pytest.mark.parametrize("alert", TIMED, ids=blip_id)
def test_each_alert_has_a_blip(alert: dict[str, Any]) -> None:
    assert "for" in alert, f"give {alert['alert']} a `for`: without one a single sample makes it fire"
    assert blip_id(alert) in BLIPS, (
        f"add `{blip_id(alert)}` to tests/assets/rules/blips.yaml: the series that its expr reads, each with the value "
        "that it has while all is well, and the ill one that makes the alert pending"
    )


def test_each_blip_is_one_of_an_alert() -> None:
    assert BLIPS.keys() <= set(map(blip_id, TIMED)), "remove from tests/assets/rules/blips.yaml what is no alert now"


@pytest.mark.parametrize("alert", BUDGETS, ids=lambda alert: f"{alert['alert']}-{alert['labels']['window']}")
def test_each_budget_has_a_blip(alert: dict[str, Any]) -> None:
    name = alert["alert"]
    tests = yaml.safe_load((RULE_TESTS / "slo.test.yaml").read_text())["tests"]
    blips = [test for test in tests if "blip" in test["name"] and test["alert_rule_test"][0]["alertname"] == name]
    assert blips, f"add a test of {name} with `blip` in its name to tests/assets/rules/slo.test.yaml"
    assert all(found["exp_alerts"] == [] for test in blips for found in test["alert_rule_test"])


def values(series: dict[str, Any], samples: int) -> str:
    """What promtool is to take for a series whose ill value lasts for that many samples."""
    well = series.get("well")
    return str(series["values"]) if well is None else f"{well}x40 {series.get('ill', well)}x{samples - 1} {well}x80"


@pytest.mark.parametrize("alert", [alert for alert in TIMED if "for" in alert and blip_id(alert) in BLIPS], ids=blip_id)
def test_each_alert_is_silent_on_a_blip(alert: dict[str, Any], tmp_path: Path, promtool: Promtool) -> None:
    """What it looks for is there for less than its time: the alert has been pending, and never firing."""
    [(number, unit)] = re.findall(r"^(\d+)([smh])$", alert["for"])
    samples = int(number) * {"s": 1, "m": 60, "h": 3600}[unit] // SAMPLE_SECONDS
    given = [{"series": each["series"], "values": values(each, samples)} for each in BLIPS[blip_id(alert)]]
    length = min(sum(int(times) + 1 for times in re.findall(r"x(\d+)", each["values"])) for each in given)
    end = f"{(length - 1) * SAMPLE_SECONDS}s"
    labels = {"alertname": alert["alert"], **{key: alert["labels"][key] for key in alert["labels"].keys() & {"sign"}}}
    selected = ", ".join(f'{name}="{value}"' for name, value in labels.items())
    expected = {
        f'count(count_over_time(ALERTS{{{selected}, alertstate="pending"}}[{end}]))': [{"value": 1}],
        f'count_over_time(ALERTS{{{selected}, alertstate="firing"}}[{end}])': [],
        f"ALERTS{{{selected}}}": [],
    }
    checks = [{"expr": expr, "eval_time": end, "exp_samples": found} for expr, found in expected.items()]
    interval = f"{SAMPLE_SECONDS}s"
    document = {
        "rule_files": [str(file) for file in RULES],
        "evaluation_interval": interval,
        "tests": [{"interval": interval, "input_series": given, "promql_expr_test": checks}],
    }
    (tmp_path / "blip.yaml").write_text(yaml.safe_dump(document))
    done = promtool("test", "rules", tmp_path / "blip.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


_WORKBOOK = {"1h": (0.02, "5m"), "6h": (0.05, "30m"), "3d": (0.10, "6h")}
"""The SRE workbook's table: long window → the part of 30 days' budget that may be gone in it, short window."""


def test_burn_rates_are_the_sre_workbooks() -> None:
    hours = {"5m": 1 / 12, "30m": 1 / 2, "1h": 1, "6h": 6, "3d": 72}
    found: dict[tuple[str, float], set[str]] = {}
    for alert in alerts():
        match = re.findall(r"service:modelops_slo_(\w+):ratio_rate(\w+) > ([\d.]+) \* ([\d.]+)", alert["expr"])
        if not match:
            continue
        (kind, long, factor, budget), (_, short, *same) = match
        assert same == [factor, budget]
        spent, expected = _WORKBOOK[long]
        assert short == expected
        assert hours[short] == pytest.approx(hours[long] / 12)
        assert float(factor) == pytest.approx(spent * 30 * 24 / hours[long])
        found.setdefault((kind, float(budget)), set()).add(long)
    assert found == {
        ("errors", 0.001): {"1h", "6h", "3d"},
        ("slow", 0.01): {"1h", "6h", "3d"},
        ("late_first_token", 0.01): {"1h", "6h", "3d"},
    }


def test_the_runbook_has_no_heading_without_alert() -> None:
    text = (REPOSITORY / "docs" / "runbook.md").read_text()
    assert set(re.findall(r"^## (.+)$", text, re.M)) == {alert["alert"] for alert in alerts()}


@pytest.mark.parametrize(
    "file",
    [file for file in sorted(LIBRARY.rglob("assets/**/*")) if file.suffix in {".yaml", ".yml"}],
    ids=lambda file: file.name,
)
def test_yaml_files_are_valid(file: Path) -> None:
    assert isinstance(yaml.safe_load(file.read_text()), dict)


@pytest.mark.parametrize("file", sorted(LIBRARY.rglob("assets/**/*.json")), ids=lambda file: file.name)
def test_json_files_are_valid(file: Path) -> None:
    assert isinstance(json.loads(file.read_text()), dict)


@pytest.mark.parametrize("file", sorted(LIBRARY.rglob("assets/**/*.sh")), ids=lambda file: file.name)
def test_shell_files_are_valid(file: Path) -> None:
    subprocess.run(["/bin/sh", "-n", str(file)], check=True)


def test_every_asset_is_package_data() -> None:
    import tomllib

    project = tomllib.loads((REPOSITORY / "components" / "pyproject.toml").read_text())
    assert project["tool"]["setuptools"]["package-data"]["modelops"] == ["py.typed", "__init__.pyi", "**/assets/**/*"]
