"""TLS for Prometheus and Alertmanager, under the stack's own CA."""

from __future__ import annotations

import base64
from dataclasses import dataclass

import pulumi
import yaml

from modelops.kubernetes.certificates import AUTHORITY, make, service_names
from modelops.kubernetes.config import generated_secret
from modelops.kubernetes.pods import core, mount, name_of
from modelops.monitoring.program import Scope

FOLDER = "/etc/modelops/web"
CA_FILE = f"{FOLDER}/{AUTHORITY}"
WEB_CONFIG_FLAG = f"--web.config.file={FOLDER}/web.yml"
_PROGRAMS = ("prometheus", "alertmanager")


@dataclass(frozen=True)
class WebTls:
    """The certificates, and how a program mounts its own."""

    secret: core.Secret

    @property
    def ca_certificate(self) -> pulumi.Output[str]:
        """Certificate (PEM) of the CA, which is not a secret."""
        return pulumi.Output.unsecret(self.secret.data.apply(lambda data: base64.b64decode(data[AUTHORITY]).decode()))

    def volume(self, program: str | None = None) -> core.VolumeArgs:
        """The CA certificate; for the server `program` also its certificate, key and web configuration."""
        paths = {AUTHORITY: AUTHORITY}
        if program is not None:
            paths |= {f"{program}.crt": "tls.crt", f"{program}.key": "tls.key", "web.yml": "web.yml"}
        items = [core.KeyToPathArgs(key=key, path=path) for key, path in paths.items()]
        return core.VolumeArgs(
            name="web", secret=core.SecretVolumeSourceArgs(secret_name=name_of(self.secret), items=items)
        )


def web_mount() -> core.VolumeMountArgs:
    """Mounts `WebTls.volume`, at the same path in every container."""
    return mount("web", FOLDER, read_only=True)


def issue_certificates(scope: Scope, generation: int, opts: pulumi.ResourceOptions) -> WebTls:
    """Issues the certificates at the first `up`; they stay until `generation` changes."""
    names = pulumi.Output.all(scope.namespace, scope.external_host)
    files = names.apply(lambda values: _files(scope, values[0], values[1]))
    return WebTls(
        generated_secret(f"{scope.named('web')}-{generation}", scope.namespace, scope.labels("web"), files, opts)
    )


def _files(scope: Scope, namespace: str, external_host: str | None) -> dict[str, str | bytes]:
    hosts = {}
    for program in _PROGRAMS:
        services = service_names(scope.named(program), namespace)
        hosts[program] = [*services, "localhost", *([external_host] if external_host else [])]
    server = {"cert_file": f"{FOLDER}/tls.crt", "key_file": f"{FOLDER}/tls.key", "min_version": "TLS12"}
    return {**make(hosts), "web.yml": yaml.safe_dump({"tls_server_config": server})}
