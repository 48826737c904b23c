"""Prometheus' remote write: its configuration, and the credentials in the pod."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi

from modelops.core.validation import Problems
from modelops.kubernetes.pods import core, env_from_secret, mount
from modelops.monitoring.args import RemoteWrite

_FOLDER = "/etc/modelops/remote"
_CREDENTIALS = ("basic_auth", "token_secret", "sigv4")


def configuration(receivers: Sequence[RemoteWrite]) -> pulumi.Output[list[dict[str, Any]]]:
    """The section `remote_write`."""
    return pulumi.Output.all(*receivers).apply(
        lambda known: [_entry(index, receiver) for index, receiver in enumerate(known)]
    )


def _entry(index: int, receiver: RemoteWrite) -> dict[str, Any]:
    entry: dict[str, Any] = {"url": receiver["url"]}
    if headers := receiver.get("headers"):
        entry["headers"] = dict(headers)
    if basic := receiver.get("basic_auth"):
        entry["basic_auth"] = {"username": basic["username"], "password_file": f"{_FOLDER}/{index}/password"}
    if "token_secret" in receiver:
        entry["authorization"] = {"credentials_file": f"{_FOLDER}/{index}/token"}
    if sigv4 := receiver.get("sigv4"):
        entry["sigv4"] = {key: sigv4[key] for key in ("region", "role_arn") if key in sigv4}
    if "ca_certificate" in receiver:
        entry["tls_config"] = {"ca_file": f"/etc/prometheus/{_ca_file(index)}"}
    if "metrics" in receiver:
        entry["write_relabel_configs"] = [
            {"source_labels": ["__name__"], "action": "keep", "regex": receiver["metrics"]}
        ]
    return entry


def authorities(receivers: Sequence[RemoteWrite]) -> dict[str, pulumi.Input[str]]:
    """CA certificates, as files beside Prometheus' configuration."""
    return {
        _ca_file(index): receiver["ca_certificate"]
        for index, receiver in enumerate(receivers)
        if "ca_certificate" in receiver
    }


def _ca_file(index: int) -> str:
    return f"remote-{index}.crt"


def _secrets(receivers: Sequence[RemoteWrite]) -> dict[int, tuple[pulumi.Input[str], str]]:
    """Each receiver's Secret and its key."""
    found: dict[int, tuple[pulumi.Input[str], str]] = {}
    for index, receiver in enumerate(receivers):
        if basic := receiver.get("basic_auth"):
            found[index] = (basic["secret"], "password")
        elif "token_secret" in receiver:
            found[index] = (receiver["token_secret"], "token")
    return found


def volumes(receivers: Sequence[RemoteWrite]) -> list[core.VolumeArgs]:
    """The Secrets, whose changes Prometheus reads without a restart."""
    return [
        core.VolumeArgs(
            name=f"remote-{index}",
            secret=core.SecretVolumeSourceArgs(secret_name=name, items=[core.KeyToPathArgs(key=key, path=key)]),
        )
        for index, (name, key) in _secrets(receivers).items()
    ]


def mounts(receivers: Sequence[RemoteWrite]) -> list[core.VolumeMountArgs]:
    """Mounts `volumes`."""
    return [mount(f"remote-{index}", f"{_FOLDER}/{index}", read_only=True) for index in _secrets(receivers)]


def environment(receivers: Sequence[RemoteWrite]) -> list[core.EnvFromSourceArgs] | None:
    """AWS's keys, which its library reads from the environment."""
    return [env_from_secret(secret) for secret in _aws_secrets(receivers)] or None


def _aws_secrets(receivers: Sequence[Any]) -> list[pulumi.Input[str]]:
    return [each["sigv4"]["secret"] for each in receivers if "secret" in (each.get("sigv4") or {})]


def check(problems: Problems, field: str, receivers: Any) -> None:
    """Checks the receivers."""
    if not isinstance(receivers, Sequence):
        return
    known = [each for each in receivers if isinstance(each, Mapping)]
    for index, receiver in enumerate(known):
        place = f"{field}[{index}]"
        problems.url(f"{place}.url", receiver.get("url"))
        given = [key for key in _CREDENTIALS if key in receiver]
        if len(given) > 1:
            problems.add(place, given, "must have one kind of credentials")
        problems.text(f"{place}.token_secret", receiver.get("token_secret"))
        for header in receiver.get("headers") or {}:
            if header.lower() == "authorization":
                problems.add(f"{place}.headers", header, "must not have credentials, which belong in a Secret")
    if len(_aws_secrets(known)) > 1:
        problems.add(field, "given", "must have one sigv4.secret at most: a pod has one identity of AWS")
