"""TLS at the web ends of Prometheus and Alertmanager, under an authority of the stack's own."""

from __future__ import annotations

import base64
from dataclasses import dataclass

import pulumi
import yaml

from modelops.kubernetes.certificates import AUTHORITY, make
from modelops.kubernetes.config import generated_secret
from modelops.kubernetes.pods import core, mount, name_of
from modelops.monitoring.program import Scope

FOLDER = "/etc/modelops/web"
AUTHORITY_FILE = f"{FOLDER}/{AUTHORITY}"
ARGUMENT = f"--web.config.file={FOLDER}/web.yml"
_PROGRAMS = ("prometheus", "alertmanager")


@dataclass(frozen=True)
class Web:
    """The certificates, and how a program gets its own."""

    secret: core.Secret

    @property
    def authority(self) -> pulumi.Output[str]:
        """Certificate (PEM) of the authority, which is no secret."""
        found = self.secret.data.apply(lambda data: base64.b64decode(data[AUTHORITY]).decode())
        return pulumi.Output.unsecret(found)

    def volume(self, program: str | None = None) -> core.VolumeArgs:
        """The authority's certificate, and for a server its own with the key and the file that names them."""
        paths = {AUTHORITY: AUTHORITY}
        if program is not None:
            paths |= {f"{program}.crt": "tls.crt", f"{program}.key": "tls.key", "web.yml": "web.yml"}
        items = [core.KeyToPathArgs(key=key, path=path) for key, path in paths.items()]
        return core.VolumeArgs(
            name="web", secret=core.SecretVolumeSourceArgs(secret_name=name_of(self.secret), items=items)
        )


def web_mount() -> core.VolumeMountArgs:
    """Where the volume of `Web.volume` is in every container."""
    return mount("web", FOLDER, read_only=True)


def certified(scope: Scope, generation: int, opts: pulumi.ResourceOptions) -> Web:
    """Makes the certificates at the first `up`; they stay until another `generation` is asked for."""
    names = pulumi.Output.all(namespace=scope.namespace, outside=scope.outside)
    files = names.apply(lambda known: _files(scope, known["namespace"], known["outside"]))
    return Web(
        generated_secret(f"{scope.named('web')}-{generation}", scope.namespace, scope.labels("web"), files, opts)
    )


def _files(scope: Scope, namespace: str, outside: str | None) -> dict[str, str | bytes]:
    hosts = {}
    for program in _PROGRAMS:
        name = scope.named(program)
        inside = [name, f"{name}.{namespace}", f"{name}.{namespace}.svc", f"{name}.{namespace}.svc.cluster.local"]
        hosts[program] = [*inside, "localhost", *([outside] if outside else [])]
    server = {"cert_file": f"{FOLDER}/tls.crt", "key_file": f"{FOLDER}/tls.key", "min_version": "TLS12"}
    return {**make(hosts), "web.yml": yaml.safe_dump({"tls_server_config": server})}
