"""Alert receivers: typed arguments, rendered into Alertmanager's configuration."""

from collections.abc import Callable, Mapping
from typing import Any, NotRequired, TypedDict

import pulumi
import yaml

from modelops.core.assets import asset
from modelops.core.validation import Problems

_TEAM, _HEARTBEAT = "team", "heartbeat"


_BEAT = {
    "receiver": _HEARTBEAT,
    "matchers": ['alertname = "Watchdog"'],
    "group_wait": "0s",
    "group_interval": "1m",
    # A little less than the interval: Alertmanager looks once in each whether it is time to repeat.
    "repeat_interval": "50s",
}
"""Where the watchdog goes, and how often."""


class EmailReceiver(TypedDict):
    """Alerts by e-mail."""

    to: pulumi.Input[str]
    """Recipient address; separate several with commas."""
    sender: pulumi.Input[str]
    """Sender address."""
    server: pulumi.Input[str]
    """Mail server and port, such as `smtp.example.com:587`. It must support TLS."""
    username: NotRequired[pulumi.Input[str]]
    """Account at the mail server. Default: none."""
    password: NotRequired[pulumi.Input[str]]
    """Password of that account. Default: none."""


class SlackReceiver(TypedDict):
    """Alerts in a Slack channel."""

    url: pulumi.Input[str]
    """URL of a Slack incoming webhook; anyone who has it can post there."""
    channel: NotRequired[pulumi.Input[str]]
    """Channel. Default: the webhook's own."""


class WebhookReceiver(TypedDict):
    """Alerts as Alertmanager's JSON, posted to a URL."""

    url: pulumi.Input[str]
    """The URL."""
    token: NotRequired[pulumi.Input[str]]
    """Sent as `Authorization: Bearer …`. Default: none."""


class PagerDutyReceiver(TypedDict):
    """Alerts as PagerDuty incidents."""

    routing_key: pulumi.Input[str]
    """Integration key of the service (Events API v2)."""


class Receivers(TypedDict):
    """Each receiver gets every alert, resolved ones too, but `Watchdog`, which is for `heartbeat_url`. At least one."""

    email: NotRequired[EmailReceiver]
    """An e-mail address. Default: none."""
    slack: NotRequired[SlackReceiver]
    """A Slack channel. Default: none."""
    webhook: NotRequired[WebhookReceiver]
    """Any URL. Default: none."""
    pagerduty: NotRequired[PagerDutyReceiver]
    """A PagerDuty service. Default: none."""


def check(problems: Problems, field: str, receivers: object) -> None:
    """Checks the receivers without showing their values, as most are secrets."""
    if not isinstance(receivers, Mapping):
        return
    if not receivers:
        problems.add(field, "empty", "must name email, slack, webhook or pagerduty")
    for name, entry in receivers.items():
        check_address(problems, f"{field}.{name}.url", entry.get("url") if isinstance(entry, Mapping) else None)


def check_address(problems: Problems, field: str, url: object) -> None:
    """Checks a URL without showing it: anyone who has it can post there."""
    if isinstance(url, str) and not url.startswith(("http://", "https://")):
        problems.add(field, "not shown", "must be an http:// or https:// address")


def render(receivers: Mapping[str, Any] | None, heartbeat_url: str | None) -> str:
    """The default configuration, with every alert routed to all `receivers` and the watchdog to `heartbeat_url`."""
    config = yaml.safe_load(asset("monitoring/assets/alertmanager/alertmanager.yml"))
    route = config["route"]
    # The watchdog is a dead man's switch: it always fires, so nobody wants to read it.
    route["routes"] = [{"receiver": route["receiver"], "matchers": ['severity = "none"']}]
    if receivers:
        team: dict[str, Any] = {"name": _TEAM}
        for name, entry in receivers.items():
            team[f"{name}_configs"] = [{"send_resolved": True, **_RENDERERS[name](entry)}]
        config["receivers"].append(team)
        route["receiver"] = _TEAM
    if heartbeat_url:
        config["receivers"].append(
            {"name": _HEARTBEAT, "webhook_configs": [{"url": heartbeat_url, "send_resolved": False}]}
        )
        route["routes"].insert(0, _BEAT)
    return yaml.safe_dump(config, sort_keys=False)


def _email(entry: Mapping[str, Any]) -> dict[str, Any]:
    fields = {"to": entry["to"], "from": entry["sender"], "smarthost": entry["server"], "require_tls": True}
    return fields | {f"auth_{key}": entry[key] for key in ("username", "password") if key in entry}


def _slack(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {"api_url": entry["url"], **({"channel": entry["channel"]} if "channel" in entry else {})}


def _webhook(entry: Mapping[str, Any]) -> dict[str, Any]:
    if "token" not in entry:
        return {"url": entry["url"]}
    authorization = {"type": "Bearer", "credentials": entry["token"]}
    return {"url": entry["url"], "http_config": {"authorization": authorization}}


_RENDERERS: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "email": _email,
    "slack": _slack,
    "webhook": _webhook,
    "pagerduty": dict,
}
