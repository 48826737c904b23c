"""A ModelRegistry for production in the cluster, and a publisher that needs no training."""

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from modelops import UPSTREAM_IMAGES, ModelRegistry
from tests.cluster import s3
from tests.cluster.provider.harness import Stack
from tests.cluster.support import eventually, exposure, kubectl, objects

TINY = {"cpu": "20m", "memory": "640Mi", "memory_limit": "1536Mi"}
ADMIN_PASSWORD = "planted-admin-password"
NAME = "registry"
Program = Callable[[k8s.Provider], Mapping[str, Any]]


def platform_image(facts: Mapping[str, Any], program: str) -> str:
    """The image of an upstream program, or the platform's substitute for it."""
    upstream = UPSTREAM_IMAGES[program]
    known = facts.get("images", {}).get(upstream)
    return str(known) if known else s3.image(upstream)


@dataclass
class Registry:
    """A registry on PostgreSQL and an object store, with accounts and back-ups."""

    namespace: str
    stack: Stack
    args: dict[str, Any]

    def program(self, **changes: Any) -> Program:
        """The program of this registry alone; `changes` are its arguments'."""

        def build(provider: k8s.Provider) -> Mapping[str, Any]:
            args = {**self.args, **changes}
            args["auth"] = {**args["auth"], "admin_password": pulumi.Output.secret(args["auth"]["admin_password"])}
            made = ModelRegistry(NAME, args, pulumi.ResourceOptions(provider=provider))  # type: ignore[arg-type]
            return {key: value for key, value in vars(made).items() if isinstance(value, pulumi.Output)}

        return build

    def credentials(self, output: str) -> tuple[str, str]:
        """User name and password of the Secret that an output names."""
        name = self.stack.outputs()[output]
        data = json.loads(kubectl("get", "secret", name, "--namespace", self.namespace, "--output=json"))["data"]
        return tuple(base64.b64decode(data[key]).decode() for key in ("username", "password"))  # type: ignore[return-value]

    def in_server(self, *command: str, container: str = "mlflow") -> str:
        """Runs something in the server's pod."""
        return kubectl(
            "exec", "--namespace", self.namespace, f"deploy/{NAME}", "--container", container, "--", *command
        )

    def run_job(self, cronjob: str, name: str) -> str:
        """Runs a CronJob's work now, waits for its end, and returns what it said."""
        kubectl("create", "job", name, f"--from=cronjob/{cronjob}", "--namespace", self.namespace)

        def ended() -> bool:
            status = json.loads(kubectl("get", "job", name, "--namespace", self.namespace, "--output=json"))["status"]
            return any(
                each["status"] == "True"
                for each in status.get("conditions", [])
                if each["type"] in ("Complete", "Failed")
            )

        eventually(ended, timeout_seconds=420, every_seconds=2)
        said = kubectl("logs", "--namespace", self.namespace, f"job/{name}", "--all-containers", check=False)
        status = json.loads(kubectl("get", "job", name, "--namespace", self.namespace, "--output=json"))["status"]
        assert status.get("succeeded") == 1, said
        return said

    def logs(self) -> str:
        """Everything that every container in the namespace has said."""
        said = []
        for pod in objects("pods", self.namespace):
            names = [each["name"] for kind in ("initContainers", "containers") for each in pod["spec"].get(kind, [])]
            for container in names:
                arguments = ("--namespace", self.namespace, pod["metadata"]["name"], "--container", container)
                said.append(kubectl("logs", *arguments, check=False))
        return "\n".join(said)


def production_args(namespace: str, facts: Mapping[str, Any], store: s3.ObjectStore) -> dict[str, Any]:
    """Arguments of a registry for production, as small as it can be."""
    postgres = platform_image(facts, "postgres")
    return {
        "namespace": namespace,
        "image": platform_image(facts, "mlflow_full"),
        "database": {
            "image": postgres,
            "storage_size": "1Gi",
            "resources": {"cpu": "20m", "memory": "64Mi", "memory_limit": "512Mi"},
        },
        "artifacts": {
            "uri": f"s3://{store.bucket}/mlflow",
            "endpoint_url": store.endpoint,
            "secret": store.credentials(namespace),
        },
        "auth": {"admin_password": ADMIN_PASSWORD},
        "backup": {"storage_size": "1Gi", "keep_count": 2},
        "resources": TINY,
        "expose": exposure(),
    }
