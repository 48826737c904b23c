"""TLS for Prometheus and Alertmanager."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
import yaml

from modelops.core.x509 import AUTHORITY, CERTIFICATE, KEY
from modelops.kubernetes.certificates import Authority, Certificate, certificate
from modelops.kubernetes.network import service_names
from modelops.kubernetes.pods import core, mount
from modelops.monitoring.program import Scope

FOLDER = "/etc/modelops/web"
CA_FILE = f"{FOLDER}/{AUTHORITY}"
WEB_CONFIG = "web.yml"
PROGRAMS = ("prometheus", "alertmanager")


@dataclass(frozen=True)
class WebTls:
    """The certificate of each program, and how pods mount them. Both programs read theirs at every connection."""

    certificates: Mapping[str, Certificate]
    ca_certificate: pulumi.Output[str] | None
    """Certificate (PEM) of the CA, which is not a secret; None for an issuer that was given without."""

    def volume(self, program: str) -> core.VolumeArgs:
        """The certificate and the key of the server `program`, and of the CA."""
        return self.certificates[program].volume("web", {key: key for key in (AUTHORITY, CERTIFICATE, KEY)})

    def ca_volume(self) -> core.VolumeArgs:
        """The CA certificate alone, for Prometheus' clients."""
        return self.certificates[PROGRAMS[0]].volume("web", {AUTHORITY: AUTHORITY})

    @property
    def resources(self) -> list[pulumi.Resource]:
        """What the volumes need."""
        return [each.resource for each in self.certificates.values()]


def web_mount() -> core.VolumeMountArgs:
    """Mounts `WebTls.volume`, at the same path in every container."""
    return mount("web", FOLDER, read_only=True)


def web_config() -> str:
    """The web configuration that both programs take."""
    server = {"cert_file": f"{FOLDER}/{CERTIFICATE}", "key_file": f"{FOLDER}/{KEY}", "min_version": "TLS12"}
    return yaml.safe_dump({"tls_server_config": server})


def web_tls(scope: Scope, signer: Authority, opts: pulumi.ResourceOptions) -> WebTls:
    """The certificates of Prometheus and Alertmanager."""

    def issued(program: str) -> Certificate:
        hosts = pulumi.Output.all(scope.namespace, scope.cluster_domain, scope.external_host).apply(
            lambda names: _hosts(scope.named(program), *names)
        )
        return certificate(signer, f"{scope.named(program)}-tls", scope.namespace, scope.labels(program), hosts, opts)

    return WebTls({program: issued(program) for program in PROGRAMS}, signer.certificate)


def _hosts(name: str, namespace: str, domain: str, external_host: str | None) -> list[str]:
    return [*service_names(name, namespace, domain), "localhost", *([external_host] if external_host else [])]
