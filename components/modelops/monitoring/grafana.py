"""Grafana, provisioned from files: changes made in its UI last only as long as its pod."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pulumi
import yaml

from modelops.core.assets import asset
from modelops.core.component import child_options
from modelops.core.images import UPSTREAM_IMAGES
from modelops.core.types import Expose
from modelops.kubernetes.config import config_map, secret
from modelops.kubernetes.pods import (
    DefaultResources,
    container,
    core,
    from_config_map,
    http_probe,
    mount,
    resource_requirements,
    scratch,
    secret_variable,
)
from modelops.monitoring.args import GrafanaPart
from modelops.monitoring.dashboards import dashboards
from modelops.monitoring.logs.shared import Shared, certificate_mount
from modelops.monitoring.program import Program, Scope, run
from modelops.monitoring.prometheus import address as prometheus_address
from modelops.monitoring.tls import CA_FILE, WebTls, web_mount

PORT = 3000
DEFAULT_RESOURCES = DefaultResources(cpu="100m", memory="192Mi", memory_limit="512Mi")
_USER = 472
_PROGRAM = "grafana"
_SETTINGS = {
    "GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES": "false",
    "GF_ANALYTICS_CHECK_FOR_UPDATES": "false",
    "GF_ANALYTICS_REPORTING_ENABLED": "false",
    "GF_PLUGINS_PREINSTALL_DISABLED": "true",
    "GF_USERS_ALLOW_SIGN_UP": "false",
}
_PASSWORD = "GF_SECURITY_ADMIN_PASSWORD"
LOGS_DASHBOARD = "logs.json"
"""It shows log lines beside metrics, so it needs the logs data source."""


class Grafana(pulumi.ComponentResource):
    """Grafana without a volume: at every start its password comes from the Secret, its dashboards from this library."""

    url: pulumi.Output[str]

    def __init__(
        self,
        scope: Scope,
        part: GrafanaPart,
        *,
        expose: Expose,
        web: WebTls | None,
        logs: Shared | None,
        opts: pulumi.ResourceOptions,
    ) -> None:
        super().__init__("modelops:monitoring:Grafana", scope.named(_PROGRAM), None, opts)
        child_opts = child_options(self)
        name, namespace, labels = scope.named(_PROGRAM), scope.namespace, scope.labels(_PROGRAM)
        credentials = secret(name, namespace, labels, {_PASSWORD: part["admin_password"]}, child_opts)
        provisioning = {
            "dashboards.yaml": asset("monitoring/assets/grafana/dashboards.yaml"),
            "datasources.yaml": _sources(web),
        }
        paths = {"dashboards.yaml": "dashboards/dashboards.yaml", "datasources.yaml": "datasources/datasources.yaml"}
        boards = dashboards(part.get("prices"))
        if logs:
            provisioning["logs.yaml"] = asset("monitoring/assets/grafana/logs.yaml")
            paths["logs.yaml"] = "datasources/logs.yaml"
        else:
            del boards[LOGS_DASHBOARD]
        provisioning_files = config_map(f"{name}-provisioning", namespace, labels, provisioning, child_opts)
        dashboard_files = config_map(f"{name}-dashboards", namespace, labels, boards, child_opts)
        program = Program(
            name=_PROGRAM,
            port=PORT,
            container=_container(
                part,
                {
                    "PROMETHEUS_URL": prometheus_address(scope, https=web is not None),
                    **({"LOGS_URL": logs.elasticsearch_url} if logs else {}),
                    **_sign_on(part),
                },
                [
                    secret_variable(_PASSWORD, credentials, _PASSWORD),
                    *(logs.passwords(LOGS_PASSWORD="READER_PASSWORD") if logs else []),
                ],
                [*([web_mount()] if web else []), *([certificate_mount()] if logs else [])],
            ),
            volumes=[
                from_config_map("provisioning", provisioning_files, paths),
                from_config_map("dashboards", dashboard_files),
                scratch("data"),
                scratch(),
                *([web.ca_volume()] if web else []),
                *([logs.ca_volume()] if logs else []),
            ],
            user=_USER,
            # Whoever may connect then is who it says it is.
            private="sign_on_header" in part,
        )
        after = [*(web.resources if web else []), *(logs.certificate_resources if logs else [])]
        self.url = run(scope, program, child_opts, expose=expose, after=after).url
        self.register_outputs({"url": self.url})


def _sign_on(part: GrafanaPart) -> dict[str, pulumi.Input[str]]:
    if "sign_on_header" not in part:
        return {}
    return {
        "GF_AUTH_PROXY_ENABLED": "true",
        "GF_AUTH_PROXY_HEADER_NAME": part["sign_on_header"],
        "GF_AUTH_PROXY_AUTO_SIGN_UP": "true",
    }


def _sources(web: WebTls | None) -> str:
    """The data sources, trusting the stack's CA where Prometheus serves TLS."""
    text = asset("monitoring/assets/grafana/datasources.yaml")
    if web is None:
        return text
    config = yaml.safe_load(text)
    config["datasources"][0]["jsonData"]["tlsAuthWithCACert"] = True
    config["datasources"][0]["secureJsonData"] = {"tlsCACert": f"$__file{{{CA_FILE}}}"}
    return yaml.safe_dump(config, sort_keys=False)


def _container(
    part: GrafanaPart,
    variables: Mapping[str, pulumi.Input[str]],
    passwords: Sequence[core.EnvVarArgs],
    mounts: Sequence[core.VolumeMountArgs],
) -> core.ContainerArgs:
    return container(
        _PROGRAM,
        part.get("image", UPSTREAM_IMAGES["grafana"]),
        variables={**_SETTINGS, **variables},
        secrets=list(passwords),
        ports=[core.ContainerPortArgs(name="http", container_port=PORT)],
        resources=resource_requirements(part.get("resources"), DEFAULT_RESOURCES),
        startup_probe=http_probe("/api/health", "http", period=2, failures=60),
        readiness_probe=http_probe("/api/health", "http", period=10, failures=3),
        liveness_probe=http_probe("/api/health", "http", period=20, failures=3, timeout=5),
        volume_mounts=[
            mount("provisioning", "/etc/grafana/provisioning", read_only=True),
            mount("dashboards", "/etc/grafana/dashboards", read_only=True),
            mount("data", "/var/lib/grafana"),
            mount("tmp", "/tmp"),
            *mounts,
        ],
    )
