"""Elasticsearch, Logstash, Kibana and Filebeat: from the containers' log files to a page to search them on."""

import hashlib
import hmac
import json
from collections.abc import Mapping
from functools import partial

import pulumi

from modelops._assets import asset
from modelops._images import UPSTREAM_IMAGES
from modelops._outputs import known_after
from modelops._pods import (
    Sizes,
    claimed,
    container,
    core,
    from_config_map,
    http_probe,
    mount,
    resource_requirements,
    restricted_container,
    scratch,
    secret_variable,
)
from modelops._storage import config_map, secret, volume_claim
from modelops._types import Expose
from modelops.monitoring import _filebeat
from modelops.monitoring._program import Program, Running, Scope, run
from modelops.monitoring._types import ElkPart, Part

SIZES = {
    "elasticsearch": Sizes(cpu="200m", memory="2Gi", memory_limit="2Gi"),
    "logstash": Sizes(cpu="100m", memory="1Gi", memory_limit="1536Mi"),
    "kibana": Sizes(cpu="100m", memory="1Gi", memory_limit="1536Mi"),
}
PORTS = {"elasticsearch": 9200, "logstash": 5044, "kibana": 5601}
DEFAULT_STORAGE_SIZE = "20Gi"
DEFAULT_RETENTION_DAYS = 14
_USER = 1000
_GROUP = 0
"""Elastic's images keep their files readable for user 1000 in group 0."""
_ES_HOME = "/usr/share/elasticsearch"
_PASSWORDS = ("ADMIN_PASSWORD", "KIBANA_PASSWORD", "LOGSTASH_PASSWORD")


class Elk(pulumi.ComponentResource):
    """One Elasticsearch node with users from files, and the programs around it that are on."""

    elasticsearch_url: pulumi.Output[str]
    kibana_url: pulumi.Output[str] | None

    def __init__(self, scope: Scope, part: ElkPart, *, expose: Expose, opts: pulumi.ResourceOptions) -> None:
        super().__init__("modelops:monitoring:Elk", scope.named("elk"), None, opts)
        self._scope = scope
        self._here = pulumi.ResourceOptions(parent=self)
        values = _credentials(part["password"])
        self._credentials = secret(scope.named("elk"), scope.namespace, scope.labels("elk"), values, self._here)
        elasticsearch = self._elasticsearch(part)
        self.elasticsearch_url = elasticsearch.url
        self.kibana_url = None
        if is_on(kibana := part.get("kibana") or {}):
            self.kibana_url = self._kibana(kibana, elasticsearch, expose).url
        if is_on(logstash := part.get("logstash") or {}):
            days = (part.get("elasticsearch") or {}).get("retention_days", DEFAULT_RETENTION_DAYS)
            beats = self._logstash(logstash, elasticsearch, days)
            if is_on(filebeat := part.get("filebeat") or {}):
                image = filebeat.get("image", UPSTREAM_IMAGES["filebeat"])
                host = pulumi.Output.concat(scope.host("logstash"), f":{PORTS['logstash']}")
                _filebeat.deploy(scope, image, filebeat.get("resources"), known_after(host, beats.service), self._here)
        self.register_outputs({"elasticsearch_url": self.elasticsearch_url, "kibana_url": self.kibana_url})

    def _files(self, program: str, files: Mapping[str, pulumi.Input[str]]) -> core.ConfigMap:
        scope = self._scope
        return config_map(scope.named(program), scope.namespace, scope.labels(program), files, self._here)

    def _passwords(self, *keys: str) -> list[core.EnvVarArgs]:
        return [secret_variable(key, self._credentials, key) for key in keys]

    def _elasticsearch(self, part: ElkPart) -> Running:
        own = part.get("elasticsearch") or {}
        name, scope, here = "elasticsearch", self._scope, self._here
        image = own.get("image", UPSTREAM_IMAGES[name])
        files = self._files(name, {file: asset(f"{name}/{file}") for file in ("elasticsearch.yml", "roles.yml")})
        claim = volume_claim(
            scope.named(name),
            scope.namespace,
            scope.labels(name),
            own.get("storage_size", DEFAULT_STORAGE_SIZE),
            own.get("storage_class"),
            here,
        )
        resources = resource_requirements(own.get("resources"), SIZES[name])
        users = container(
            "users",
            image,
            variables={},
            secrets=self._passwords(*_PASSWORDS),
            command=["/bin/sh", "-c", asset("elasticsearch/users.sh")],
            resources=resources,
            security_context=restricted_container(read_only=False),
            volume_mounts=[mount("files", "/modelops", read_only=True), mount("config", "/config")],
        )
        health = f'curl -sf -m 5 -u "modelops:$ADMIN_PASSWORD" localhost:{PORTS[name]}/_cluster/health?local=true'
        ready = core.ExecActionArgs(command=["/bin/sh", "-c", health])
        server = container(
            name,
            image,
            variables={},
            secrets=self._passwords("ADMIN_PASSWORD"),
            ports=[core.ContainerPortArgs(name="http", container_port=PORTS[name])],
            resources=resources,
            security_context=restricted_container(read_only=False),
            startup_probe=core.ProbeArgs(exec_=ready, period_seconds=5, failure_threshold=60, timeout_seconds=6),
            readiness_probe=core.ProbeArgs(exec_=ready, period_seconds=15, failure_threshold=3, timeout_seconds=6),
            volume_mounts=[mount("data", f"{_ES_HOME}/data"), mount("config", f"{_ES_HOME}/config")],
        )
        program = Program(
            name=name,
            port=PORTS[name],
            container=server,
            init_containers=[users],
            volumes=[
                from_config_map("files", files),
                scratch("config"),
                claimed("data", known_after(scope.named(name), claim)),
            ],
            user=_USER,
            group=_GROUP,
            private=True,
            startup_seconds=300,
        )
        return run(scope, program, here)

    def _kibana(self, part: Part, elasticsearch: Running, expose: Expose) -> Running:
        name = "kibana"
        files = self._files(name, {"kibana.yml": asset("kibana/kibana.yml")})
        server = container(
            name,
            part.get("image", UPSTREAM_IMAGES[name]),
            variables={"ELASTICSEARCH_URL": elasticsearch.url},
            secrets=self._passwords("KIBANA_PASSWORD", "KIBANA_ENCRYPTION_KEY"),
            ports=[core.ContainerPortArgs(name="http", container_port=PORTS[name])],
            resources=resource_requirements(part.get("resources"), SIZES[name]),
            security_context=restricted_container(read_only=False),
            startup_probe=http_probe("/login", "http", period=5, failures=60, timeout=5),
            readiness_probe=http_probe("/login", "http", period=15, failures=3, timeout=5),
            volume_mounts=[
                mount("files", "/usr/share/kibana/config/kibana.yml", read_only=True, sub_path="kibana.yml")
            ],
        )
        program = Program(
            name=name,
            port=PORTS[name],
            container=server,
            volumes=[from_config_map("files", files)],
            user=_USER,
            group=_GROUP,
            startup_seconds=300,
        )
        return run(self._scope, program, self._here, expose=expose)

    def _logstash(self, part: Part, elasticsearch: Running, retention_days: pulumi.Input[int]) -> Running:
        name, home = "logstash", "/usr/share/logstash"
        template = pulumi.Output.from_input(retention_days).apply(index_template)
        files = self._files(
            name,
            {
                "logstash.yml": asset("logstash/logstash.yml"),
                "modelops.conf": asset("logstash/modelops.conf"),
                "template.json": template,
            },
        )
        server = container(
            name,
            part.get("image", UPSTREAM_IMAGES[name]),
            variables={"ELASTICSEARCH_URL": elasticsearch.url},
            secrets=self._passwords("LOGSTASH_PASSWORD"),
            ports=[
                core.ContainerPortArgs(name="beats", container_port=PORTS[name]),
                core.ContainerPortArgs(name="api", container_port=9600),
            ],
            resources=resource_requirements(part.get("resources"), SIZES[name]),
            security_context=restricted_container(read_only=False),
            startup_probe=http_probe("/", "api", period=5, failures=60, timeout=5),
            readiness_probe=http_probe("/", "api", period=15, failures=3, timeout=5),
            volume_mounts=[
                mount("files", f"{home}/config/logstash.yml", read_only=True, sub_path="logstash.yml"),
                mount("files", f"{home}/pipeline/logstash.conf", read_only=True, sub_path="modelops.conf"),
                mount("files", f"{home}/modelops/template.json", read_only=True, sub_path="template.json"),
            ],
        )
        program = Program(
            name=name,
            port=PORTS[name],
            container=server,
            volumes=[from_config_map("files", files)],
            user=_USER,
            group=_GROUP,
            private=True,
            startup_seconds=300,
        )
        return run(self._scope, program, self._here)


def is_on(part: Part) -> bool:
    """Whether one of the programs around Elasticsearch is there."""
    return part.get("enabled", True)


def derive(purpose: str, password: str) -> str:
    """A password of its own for each program, the same at every `pulumi up`, that does not give the first away."""
    return hmac.new(password.encode(), f"modelops {purpose}".encode(), hashlib.sha256).hexdigest()


def index_template(retention_days: float) -> str:
    """Logstash's index template, with how long logs stay."""
    template = json.loads(asset("logstash/template.json"))
    template["template"]["lifecycle"]["data_retention"] = f"{int(retention_days)}d"
    return json.dumps(template, indent=2)


def _credentials(password: pulumi.Input[str]) -> dict[str, pulumi.Input[str]]:
    known = pulumi.Output.secret(password)
    values: dict[str, pulumi.Input[str]] = {"ADMIN_PASSWORD": known}
    purposes = {
        "KIBANA_PASSWORD": "kibana",
        "KIBANA_ENCRYPTION_KEY": "kibana encryption",
        "LOGSTASH_PASSWORD": "logstash",
    }
    for key, purpose in purposes.items():
        values[key] = known.apply(partial(derive, purpose))
    return values
