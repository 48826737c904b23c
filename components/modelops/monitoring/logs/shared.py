"""What the programs of the log pipeline share: credentials, certificates, the address of Elasticsearch."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

import pulumi

from modelops.core.quantities import bytes_of
from modelops.core.types import Resources
from modelops.core.x509 import AUTHORITY, CERTIFICATE, KEY
from modelops.kubernetes.certificates import Authority, Certificate, certificate
from modelops.kubernetes.config import config_map, generated_secret, secret
from modelops.kubernetes.network import service_names
from modelops.kubernetes.pods import DefaultResources, core, mount, name_of, secret_variable
from modelops.monitoring.logs.args import ElasticsearchPart, ElkPart
from modelops.monitoring.program import Scope

PORTS = {"elasticsearch": 9200, "logstash": 5044, "kibana": 5601}
USER, GROUP = 1000, 0
"""Elastic's images make their files readable for user 1000 in group 0."""
CERTIFICATES = "/etc/modelops/certificates"
STACK_CA_FILE = f"{CERTIFICATES}/{AUTHORITY}"
EXISTING_CA = "EXISTING_AUTHORITY"
EXISTING_CA_FILE = "/etc/modelops/authority/ca.crt"
_PURPOSES = {
    "KIBANA_PASSWORD": "kibana",
    "KIBANA_ENCRYPTION_KEY": "kibana encryption",
    "READER_PASSWORD": "reader",
    "SETUP_PASSWORD": "setup",
    "WRITER_PASSWORD": "writer",
}
_CERTIFIED = ("elasticsearch", "logstash", "kibana", "filebeat")
_AGENTS = ("filebeat",)
_MAX_HEAP = 31 * 2**30
"""Above it Java can't compress pointers, which doubles their size."""


@dataclass(frozen=True)
class Elasticsearch:
    """Where the logs go: the stack's own Elasticsearch, or an existing one."""

    url: pulumi.Output[str]
    username: pulumi.Input[str]
    """User that writes."""
    password: str
    """Key of that user's password in the Secret."""
    ca_file: str | None
    """File with its CA certificate; none for a CA that every image trusts."""
    after: tuple[pulumi.Resource, ...] = ()


@dataclass(frozen=True)
class Shared:
    """Secrets of the log pipeline, and how its programs use them."""

    scope: Scope
    opts: pulumi.ResourceOptions
    values: Mapping[str, pulumi.Input[str]]
    """The entries of `credentials`."""
    credentials: core.Secret
    certificates: Mapping[str, Certificate]
    """Of each program, which alone has its key."""

    @property
    def elasticsearch_url(self) -> str:
        """URL of the stack's own, by the short name in its certificate, for clients in its namespace."""
        return f"https://{self.scope.named('elasticsearch')}:{PORTS['elasticsearch']}"

    def files(self, program: str, files: Mapping[str, pulumi.Input[str]]) -> core.ConfigMap:
        """The program's configuration files."""
        scope = self.scope
        return config_map(scope.named(program), scope.namespace, scope.labels(program), files, self.opts)

    def of_agent(self, program: str, *keys: str) -> Shared:
        """The same for a program in the agents' namespace: with a Secret of its own there, of no other entries than
        these, if it needs any."""
        scope = self.scope.agents
        if not keys:
            return replace(self, scope=scope)
        values = {key: self.values[key] for key in keys}
        own = secret(scope.named(program), scope.namespace, scope.labels(program), values, self.opts)
        return replace(self, scope=scope, values=values, credentials=own)

    def passwords(self, *keys: str, **renamed: str) -> list[core.EnvVarArgs]:
        """Environment variables from the Secret; `VARIABLE=KEY` renames one."""
        pairs = {**{key: key for key in keys}, **renamed}
        return [secret_variable(variable, self.credentials, key) for variable, key in pairs.items()]

    def certificate_volume(self, program: str) -> core.VolumeArgs:
        """The certificate and the key of `program`, and the CA's certificate."""
        paths = {AUTHORITY: AUTHORITY, CERTIFICATE: f"{program}.crt", KEY: f"{program}.key"}
        return self.certificates[program].volume("certificates", paths)

    def ca_volume(self) -> core.VolumeArgs:
        """The CA's certificate alone."""
        return self.certificates["elasticsearch"].volume("certificates", {AUTHORITY: AUTHORITY})

    @property
    def certificate_resources(self) -> list[pulumi.Resource]:
        """What the volumes need."""
        return [each.resource for each in self.certificates.values()]


def _hosts(scope: Scope, namespace: str, domain: str, external_host: str | None) -> dict[str, list[str]]:
    """The names in each program's certificate."""
    nodes = scope.named("elasticsearch-nodes")

    def names(program: str) -> list[str]:
        return service_names(scope.named(program), namespace, domain)

    return {
        "elasticsearch": [*names("elasticsearch"), f"*.{nodes}", "localhost"],
        "logstash": names("logstash"),
        "kibana": [
            *names("kibana"),
            "localhost",
            *([external_host] if external_host else []),
        ],
        "filebeat": [scope.named("filebeat")],
    }


def create_shared(scope: Scope, part: ElkPart, signer: Authority, opts: pulumi.ResourceOptions) -> Shared:
    """Creates the credentials, and the certificates by `signer`."""
    labels = scope.labels("elk")
    password = pulumi.Output.secret(part["password"]) if "password" in part else _generated_password(scope, opts)
    values: dict[str, pulumi.Input[str]] = {
        "ADMIN_PASSWORD": password,
        **{key: password.apply(partial(derive, purpose)) for key, purpose in _PURPOSES.items()},
    }
    if snapshots := (part.get("elasticsearch") or ElasticsearchPart()).get("snapshots"):
        values |= {"S3_ACCESS_KEY": snapshots["access_key"], "S3_SECRET_KEY": snapshots["secret_key"]}
    existing = part.get("existing")
    if existing and "ca_certificate" in existing:
        values[EXISTING_CA] = existing["ca_certificate"]
    credentials = secret(scope.named("elk"), scope.namespace, labels, values, opts)
    certificates = {program: _issued(scope, signer, program, opts) for program in _CERTIFIED}
    return Shared(scope, opts, values, credentials, certificates)


def _issued(scope: Scope, signer: Authority, program: str, opts: pulumi.ResourceOptions) -> Certificate:
    known = pulumi.Output.all(scope.namespace, scope.cluster_domain, scope.external_host)
    hosts = known.apply(lambda values: _hosts(scope, *values)[program])
    namespace = scope.agents.namespace if program in _AGENTS else scope.namespace
    return certificate(signer, f"{scope.named(program)}-tls", namespace, scope.labels(program), hosts, opts)


def _generated_password(scope: Scope, opts: pulumi.ResourceOptions) -> pulumi.Output[str]:
    """A password that the first `up` generates and later ones read from the state."""
    name, labels = scope.named("elk-password"), scope.labels("elk")
    stored = generated_secret(name, scope.namespace, labels, {"password": secrets.token_urlsafe(24)}, opts)
    return pulumi.Output.secret(stored.data.apply(lambda data: base64.b64decode(data["password"]).decode()))


def derive(purpose: str, password: str) -> str:
    """A separate password for each program, the same at every `pulumi up`, that does not reveal `password`."""
    return hmac.new(password.encode(), f"modelops {purpose}".encode(), hashlib.sha256).hexdigest()


def memory_limit(resources: Resources | None, defaults: DefaultResources) -> pulumi.Output[int]:
    """A container's memory limit in bytes."""
    resources = resources or {}
    limit = resources.get("memory_limit", resources.get("memory", defaults.memory_limit))
    return pulumi.Output.from_input(limit).apply(bytes_of)


def java_heap(resources: Resources | None, defaults: DefaultResources) -> pulumi.Output[str]:
    """Java options that give half of a container's memory to the heap; the rest is for files and threads."""

    def options(limit: int) -> str:
        mebibytes = min(limit // 2, _MAX_HEAP) // 2**20
        return f"-Xms{mebibytes}m -Xmx{mebibytes}m"

    return memory_limit(resources, defaults).apply(options)


def certificate_mount() -> core.VolumeMountArgs:
    """Mounts `certificate_volume`, at the same path in every container."""
    return mount("certificates", CERTIFICATES, read_only=True)


def existing_ca(
    shared: Shared, elasticsearch: Elasticsearch
) -> tuple[list[core.VolumeArgs], list[core.VolumeMountArgs]]:
    """Volumes and mounts of the CA certificate given for an existing Elasticsearch, if any."""
    if elasticsearch.ca_file != EXISTING_CA_FILE:
        return [], []
    folder, _, file = EXISTING_CA_FILE.rpartition("/")
    source = core.SecretVolumeSourceArgs(
        secret_name=name_of(shared.credentials), items=[core.KeyToPathArgs(key=EXISTING_CA, path=file)]
    )
    return [core.VolumeArgs(name="authority", secret=source)], [mount("authority", folder, read_only=True)]
