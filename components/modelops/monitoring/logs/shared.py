"""What the programs of the log pipeline share: who they are, what they may know, where Elasticsearch is."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import pulumi

from modelops.core.quantities import bytes_of
from modelops.kubernetes.certificates import AUTHORITY, certificates
from modelops.kubernetes.config import config_map, generated_secret, secret
from modelops.kubernetes.pods import core, mount, name_of, secret_variable
from modelops.monitoring.logs.args import ElkPart
from modelops.monitoring.program import Scope

PORTS = {"elasticsearch": 9200, "logstash": 5044, "kibana": 5601}
USER, GROUP = 1000, 0
"""Elastic's images keep their files readable for user 1000 in group 0."""
CERTIFICATES = "/etc/modelops/certificates"
OWN_AUTHORITY = f"{CERTIFICATES}/{AUTHORITY}"
EXISTING_AUTHORITY = "/etc/modelops/authority/ca.crt"
_PURPOSES = {
    "KIBANA_PASSWORD": "kibana",
    "KIBANA_ENCRYPTION_KEY": "kibana encryption",
    "READER_PASSWORD": "reader",
    "SETUP_PASSWORD": "setup",
    "WRITER_PASSWORD": "writer",
}
_MOST_HEAP = 31 * 2**30
"""Above it Java's pointers double in size."""


@dataclass(frozen=True)
class Elasticsearch:
    """Where the logs go: the stack's own Elasticsearch, or one that was there."""

    url: pulumi.Output[str]
    username: pulumi.Input[str]
    """Who writes."""
    password: str
    """Key of that user's password in the Secret."""
    authority: str | None
    """File with the certificate of its authority; none: one that every image knows."""
    after: tuple[pulumi.Resource, ...] = ()


@dataclass(frozen=True)
class Shared:
    """Secrets of the log pipeline, and how its programs get them."""

    scope: Scope
    opts: pulumi.ResourceOptions
    credentials: core.Secret
    certificates: core.Secret

    @property
    def elasticsearch(self) -> str:
        """Address of the stack's own, by the short name that its certificate has: all who ask are in its namespace."""
        return f"https://{self.scope.named('elasticsearch')}:{PORTS['elasticsearch']}"

    def files(self, program: str, files: Mapping[str, pulumi.Input[str]]) -> core.ConfigMap:
        """The program's configuration."""
        scope = self.scope
        return config_map(scope.named(program), scope.namespace, scope.labels(program), files, self.opts)

    def passwords(self, *keys: str, **renamed: str) -> list[core.EnvVarArgs]:
        """Environment variables from the Secret; `VARIABLE=KEY` under another name."""
        pairs = {**{key: key for key in keys}, **renamed}
        return [secret_variable(variable, self.credentials, key) for variable, key in pairs.items()]

    def certificate_volume(self, *programs: str) -> core.VolumeArgs:
        """The authority's certificate, and the named programs' own with their keys."""
        keys = [AUTHORITY, *(f"{program}.{kind}" for program in programs for kind in ("crt", "key"))]
        source = core.SecretVolumeSourceArgs(
            secret_name=name_of(self.certificates), items=[core.KeyToPathArgs(key=key, path=key) for key in keys]
        )
        return core.VolumeArgs(name="certificates", secret=source)


@dataclass(frozen=True)
class Reader:
    """How another program of the stack reads the lines of its own Elasticsearch: as a user that can do nothing else."""

    shared: Shared

    @property
    def url(self) -> str:
        return self.shared.elasticsearch

    def password(self, variable: str) -> core.EnvVarArgs:
        """That user's password (of `modelops_reader`), as an environment variable."""
        return self.shared.passwords(**{variable: "READER_PASSWORD"})[0]

    def volume(self) -> core.VolumeArgs:
        """The authority's certificate; `certificate_mount` says where it goes."""
        return self.shared.certificate_volume()


def share(scope: Scope, part: ElkPart, opts: pulumi.ResourceOptions) -> Shared:
    """Creates what all of them need."""
    labels = scope.labels("elk")
    hosts = {
        "elasticsearch": [scope.named("elasticsearch"), f"*.{scope.named('elasticsearch-nodes')}", "localhost"],
        "logstash": [scope.named("logstash")],
        "kibana": [scope.named("kibana"), "localhost"],
        "filebeat": [scope.named("filebeat")],
    }
    generation = part.get("certificate_generation", 1)
    made = certificates(f"{scope.named('elk')}-certificates-{generation}", scope.namespace, labels, hosts, opts)
    password = pulumi.Output.secret(part["password"]) if "password" in part else _generated(scope, opts)
    values = _credentials(password)
    own = part.get("elasticsearch")
    if own and (snapshots := own.get("snapshots")):
        values |= {"S3_ACCESS_KEY": snapshots["access_key"], "S3_SECRET_KEY": snapshots["secret_key"]}
    existing = part.get("existing")
    if existing and "ca_certificate" in existing:
        values["EXISTING_AUTHORITY"] = existing["ca_certificate"]
    return Shared(scope, opts, secret(scope.named("elk"), scope.namespace, labels, values, opts), made)


def _generated(scope: Scope, opts: pulumi.ResourceOptions) -> pulumi.Output[str]:
    """A password that the first `up` made up and every later one finds in the state."""
    name, labels = scope.named("elk-password"), scope.labels("elk")
    kept = generated_secret(name, scope.namespace, labels, {"password": secrets.token_urlsafe(24)}, opts)
    return pulumi.Output.secret(kept.data.apply(lambda data: base64.b64decode(data["password"]).decode()))


def _credentials(password: pulumi.Output[str]) -> dict[str, pulumi.Input[str]]:
    values: dict[str, pulumi.Input[str]] = {"ADMIN_PASSWORD": password}
    for key, purpose in _PURPOSES.items():
        values[key] = password.apply(partial(derive, purpose))
    return values


def derive(purpose: str, password: str) -> str:
    """A password of its own for each program, the same at every `pulumi up`, that does not give the first away."""
    return hmac.new(password.encode(), f"modelops {purpose}".encode(), hashlib.sha256).hexdigest()


def heap(memory: pulumi.Input[str]) -> pulumi.Output[str]:
    """Java's options for a container of that much memory: half of it for the heap, the rest for files and threads."""

    def options(quantity: str) -> str:
        mebibytes = min(bytes_of(quantity) // 2, _MOST_HEAP) // 2**20
        return f"-Xms{mebibytes}m -Xmx{mebibytes}m"

    return pulumi.Output.from_input(memory).apply(options)


def certificate_mount() -> core.VolumeMountArgs:
    """Where programs find the certificates."""
    return mount("certificates", CERTIFICATES, read_only=True)


def authority_of_existing(
    shared: Shared, elasticsearch: Elasticsearch
) -> list[tuple[core.VolumeArgs, core.VolumeMountArgs]]:
    """The certificate behind an Elasticsearch that was there, where one was given."""
    if elasticsearch.authority != EXISTING_AUTHORITY:
        return []
    folder, _, file = EXISTING_AUTHORITY.rpartition("/")
    source = core.SecretVolumeSourceArgs(
        secret_name=name_of(shared.credentials), items=[core.KeyToPathArgs(key="EXISTING_AUTHORITY", path=file)]
    )
    return [(core.VolumeArgs(name="authority", secret=source), mount("authority", folder, read_only=True))]


def as_json(document: object) -> str:
    """JSON as it is written into a ConfigMap: the same for the same content."""
    return json.dumps(document, indent=2)
