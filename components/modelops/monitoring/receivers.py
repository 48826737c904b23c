"""Where alerts go: receivers as typed arguments, turned into Alertmanager's configuration."""

from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict

import pulumi
import yaml

from modelops.core.assets import asset
from modelops.core.validation import Problems

_TEAM = "team"


class EmailReceiver(TypedDict):
    """Alerts by e-mail."""

    to: pulumi.Input[str]
    """Address that gets them; several with commas between."""
    sender: pulumi.Input[str]
    """Address that they come from."""
    server: pulumi.Input[str]
    """Mail server with its port, such as `smtp.example.com:587`. TLS is required of it."""
    username: NotRequired[pulumi.Input[str]]
    """Account at the mail server. Default: none."""
    password: NotRequired[pulumi.Input[str]]
    """Password of that account. Default: none."""


class SlackReceiver(TypedDict):
    """Alerts in a Slack channel."""

    url: pulumi.Input[str]
    """Slack's address of an incoming webhook; whoever has it can write there."""
    channel: NotRequired[pulumi.Input[str]]
    """Channel. Default: the webhook's own."""


class WebhookReceiver(TypedDict):
    """Alerts as Alertmanager's JSON, posted to an address."""

    url: pulumi.Input[str]
    """The address."""
    token: NotRequired[pulumi.Input[str]]
    """Sent as `Authorization: Bearer …`. Default: none."""


class PagerDutyReceiver(TypedDict):
    """Alerts as PagerDuty incidents."""

    routing_key: pulumi.Input[str]
    """Integration key of the service (Events API v2)."""


class Receivers(TypedDict):
    """Everything that gets each alert, resolved ones too; `Watchdog` goes to none of them. At least one."""

    email: NotRequired[EmailReceiver]
    """An e-mail address. Default: none."""
    slack: NotRequired[SlackReceiver]
    """A Slack channel. Default: none."""
    webhook: NotRequired[WebhookReceiver]
    """Any address. Default: none."""
    pagerduty: NotRequired[PagerDutyReceiver]
    """A PagerDuty service. Default: none."""


def check(problems: Problems, field: str, receivers: object) -> None:
    """Values are never shown: they are secrets, mostly."""
    if not isinstance(receivers, Mapping):
        return
    if not receivers:
        problems.add(field, "empty", "must name email, slack, webhook or pagerduty")
    for name, entry in receivers.items():
        url = entry.get("url") if isinstance(entry, Mapping) else None
        if isinstance(url, str) and not url.startswith(("http://", "https://")):
            problems.add(f"{field}.{name}.url", "not shown", "must be an http:// or https:// address")


def configuration(receivers: Receivers) -> pulumi.Output[str]:
    """Alertmanager's configuration with these receivers."""
    known: pulumi.Output[Any] = pulumi.Output.from_input(receivers)
    return known.apply(render)


def render(receivers: Mapping[str, Any]) -> str:
    """The asset's configuration, with every alert to all of `receivers`."""
    config = yaml.safe_load(asset("monitoring/assets/alertmanager/alertmanager.yml"))
    team: dict[str, Any] = {"name": _TEAM}
    for name, entry in receivers.items():
        team[f"{name}_configs"] = [{"send_resolved": True, **_RENDERERS[name](entry)}]
    config["receivers"].append(team)
    nobody = config["route"]["receiver"]
    # The watchdog always fires: it is there to be missed, not to be read.
    config["route"] |= {"receiver": _TEAM, "routes": [{"receiver": nobody, "matchers": ['severity = "none"']}]}
    return yaml.safe_dump(config, sort_keys=False)


def _email(entry: Mapping[str, Any]) -> dict[str, Any]:
    fields = {"to": entry["to"], "from": entry["sender"], "smarthost": entry["server"], "require_tls": True}
    if "username" in entry:
        fields["auth_username"] = entry["username"]
    if "password" in entry:
        fields["auth_password"] = entry["password"]
    return fields


def _slack(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {"api_url": entry["url"], **({"channel": entry["channel"]} if "channel" in entry else {})}


def _webhook(entry: Mapping[str, Any]) -> dict[str, Any]:
    if "token" not in entry:
        return {"url": entry["url"]}
    authorization = {"type": "Bearer", "credentials": entry["token"]}
    return {"url": entry["url"], "http_config": {"authorization": authorization}}


def _pagerduty(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {"routing_key": entry["routing_key"]}


_RENDERERS = {"email": _email, "slack": _slack, "webhook": _webhook, "pagerduty": _pagerduty}
