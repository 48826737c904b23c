"""Clusters whose DNS domain is another than `cluster.local`: nothing that stacks or components make names that one."""

import base64
import contextlib
import json
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.unit.components.harness import Program, Secret
from tests.unit.components.test_arguments import RICH, made
from tests.unit.stacks.support import STACKS, config_of
from tests.unit.stacks.test_composition import compose

USUAL, OTHER = "cluster.local", "corp.example"
OF_PODS = ("data", "model", "monitoring", "promote", "registry", "service")
"""The parts of a stack's config that say how pods fit the cluster."""
TLS = {"namespace": "watch", "web": {"tls": True}, "elk": {"enabled": True, "password": "long enough"}}


def texts(value: Any) -> Iterator[str]:
    """Every text in it: keys, what is in base64, and the names in certificates too."""
    if isinstance(value, Secret):
        yield from texts(value.value)
    elif isinstance(value, Mapping):
        for key, entry in value.items():
            yield str(key)
            yield from texts(entry)
    elif isinstance(value, list):
        for entry in value:
            yield from texts(entry)
    elif isinstance(value, str):
        yield value
        with contextlib.suppress(ValueError):
            yield from texts(base64.b64decode(value, validate=True).decode() or [])
        for certificate in value.split("-----BEGIN CERTIFICATE-----")[1:]:
            pem = "-----BEGIN CERTIFICATE-----" + certificate.partition("-----END CERTIFICATE-----")[0]
            yield ssl.PEM_cert_to_DER_cert(pem + "-----END CERTIFICATE-----").decode("latin-1")


def naming(program: Program, domain: str) -> list[str]:
    """What has that domain somewhere."""
    made = [(f"{found.type} {found.name}", found.inputs) for found in program.resources]
    shown = [(f"output {name}", output.value) for name, output in program.outputs.items()]
    return sorted({where for where, value in made + shown for text in texts(value) if domain in text})


@pytest.mark.parametrize("stack", STACKS)
def test_a_stack_names_the_cluster_s_own_domain_only(
    stack: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given = config_of(stack)
    assert naming(compose(stack, monkeypatch, tmp_path)[0], USUAL) != []
    promotes = "modelops:promote" in given
    parts = {key: json.loads(value) for key, value in given.items() if key.removeprefix("modelops:") in OF_PODS}
    parts = {key: part for key, part in parts.items() if not (promotes and key == "modelops:model")}
    for part in parts.values():
        part["network"] = {"cluster_domain": OTHER}
    assert {f"modelops:{part}" for part in ("monitoring", "registry", "service")} <= parts.keys()
    program, _ = compose(stack, monkeypatch, tmp_path, config={key: json.dumps(value) for key, value in parts.items()})
    assert naming(program, USUAL) == []
    assert "kubernetes:apps/v1:Deployment registry" in naming(program, f".svc.{OTHER}")


@pytest.mark.parametrize("name", RICH)
def test_only_what_clients_may_ask_for_has_the_domain_and_it_is_the_cluster_s(name: str) -> None:
    """Addresses of the library's own are without one, so they hold in any cluster."""
    component, args = RICH[name]
    more = {} if component == "ModelImage" else {"network": {"cluster_domain": OTHER}}
    program = made(component, {**args, **more})
    assert naming(program, USUAL) == []
    expected = {
        "ModelRegistry": ["kubernetes:apps/v1:Deployment demo"],
        "MonitoringStack": [
            f"kubernetes:core/v1:Secret demo-{each}-tls" for each in ("elasticsearch", "kibana", "logstash")
        ],
    }
    assert naming(program, OTHER) == expected.get(component, [])


@pytest.mark.parametrize(("network", "domain"), [({}, USUAL), ({"cluster_domain": OTHER}, OTHER)])
def test_certificates_are_for_the_full_names_of_the_cluster_s_domain(network: Any, domain: str) -> None:
    issuer = {"issuer": {"name": "company"}}
    requested = made("MonitoringStack", {**TLS, "network": network, "certificates": issuer})
    signed = made("MonitoringStack", {**TLS, "network": network})
    for program in ("prometheus", "alertmanager", "elasticsearch", "logstash", "kibana"):
        name = f"demo-{program}.watch.svc.{domain}"
        assert f"kubernetes:core/v1:Secret demo-{program}-tls" in naming(signed, name)
        assert f"kubernetes:cert-manager.io/v1:Certificate demo-{program}-tls" in naming(requested, name)
