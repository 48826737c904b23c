"""What the serving tests share: an image, a registry with tiny models, and small programs around ModelService."""

import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from modelops import UPSTREAM_IMAGES, ModelImage, ModelRegistry, ModelService
from tests.cluster.provider.harness import Outcome, Stack
from tests.cluster.support import REPOSITORY, exposure, kubectl, objects
from tests.models import write_model

MODEL = "line"
WRONG_SLOPE = -4.0
SLOPES = {"triple": 3.0, "wrong": WRONG_SLOPE}
"""Of the models y = slope·x + 1, by alias, without its `run-`; it is 2 under any other one."""
BROKEN = "broken"
"""The alias of a model whose own golden prediction is wrong: its server never gets ready."""
SMALL = {"cpu": "20m", "memory": "96Mi"}
"""Resources of a serving pod: many have to fit on one small node."""


@dataclass
class Serving:
    """Where the tests serve from."""

    namespace: str
    image: str
    tracking_uri: str
    """The registry's address inside the cluster."""
    registry_url: str
    """The registry's address from this process."""
    new_stack: Callable[[], Stack]
    """Makes an empty stack in the namespace; it is destroyed at the end of the session."""
    published: set[str] = field(default_factory=set)

    def uri(self, alias: str) -> str:
        """URI of the model that SLOPES and BROKEN describe, published under the alias when it is first asked for."""
        if alias not in self.published:
            publish(
                self.registry_url, f"run-{alias}", slope=SLOPES.get(alias, 2.0), golden_error=float(alias == BROKEN)
            )
            self.published.add(alias)
        return f"models:/{MODEL}@run-{alias}"

    def args(self, alias: str = "double", *, exposed: bool = False, **changes: Any) -> dict[str, Any]:
        """Arguments of a small ModelService, y = 2x + 1 unless said otherwise; `exposed` to this process as well."""
        return {
            "namespace": self.namespace,
            "image": self.image,
            "tracking_uri": self.tracking_uri,
            "model_uri": self.uri(alias),
            "resources": SMALL,
            **({"expose": exposure()} if exposed else {}),
            **changes,
        }

    def program(self, name: str, **changes: Any) -> Callable[[k8s.Provider], Mapping[str, Any]]:
        """A program of one ModelService that exports its outputs; `changes` are those of `args`."""
        args = self.args(**changes)

        def build(provider: k8s.Provider) -> Mapping[str, Any]:
            service = ModelService(name, args, pulumi.ResourceOptions(provider=provider))  # type: ignore[arg-type]
            return {key: value for key, value in vars(service).items() if isinstance(value, pulumi.Output)}

        return build

    def deployed(self, program: Callable[[k8s.Provider], Mapping[str, Any]]) -> Iterator[Stack]:
        """A stack with the program, for a fixture to `yield from`; destroyed after its last test."""
        made = self.new_stack()
        made.up(program)
        yield made
        made.destroy(succeed=None)

    def pods(self, service: str, *, track: str | None = None, leaving: bool = False) -> list[dict[str, Any]]:
        """The pods of a service (or of one track of it), without those on their way out unless `leaving`."""
        wanted = f"app.kubernetes.io/name=model-service,app.kubernetes.io/instance={service}"
        found = objects(
            "pods", self.namespace, "--selector", wanted + (f",modelops.dev/track={track}" if track else "")
        )
        return [pod for pod in found if leaving or "deletionTimestamp" not in pod["metadata"]]

    def predictions(self, service: str, *, track: str) -> float:
        """How many requests the one pod of a track has answered."""
        [pod] = self.pods(service, track=track)
        name = f"{pod['metadata']['name']}:8080"
        text = kubectl("get", "--raw", f"/api/v1/namespaces/{self.namespace}/pods/{name}/proxy/metrics")
        counts = re.findall(r'^modelops_requests_total\{[^}]*path="/api/predict"[^}]*\} (\S+)$', text, re.MULTILINE)
        return sum(float(count) for count in counts)


def publish(registry_url: str, alias: str, *, slope: float, golden_error: float) -> None:
    """Registers a version of MODEL, y = slope·x + 1, whose golden prediction is wrong by `golden_error`."""
    with tempfile.TemporaryDirectory() as folder:
        write_model(Path(folder), name=MODEL, weights=((slope,),), golden_error=golden_error)
        publish_folder(registry_url, MODEL, alias, Path(folder))


def publish_folder(registry_url: str, name: str, alias: str, folder: Path) -> str:
    """Registers a version of a model: the files as training would leave them, the alias last. Returns its URI."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    client = MlflowClient(registry_url)
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    run = client.create_run("0")
    client.log_artifacts(run.info.run_id, str(folder), "model")
    version = client.create_model_version(name, f"{run.info.artifact_uri}/model", run.info.run_id)
    client.set_registered_model_alias(name, alias, version.version)
    return f"models:/{name}@{alias}"


def image_args(facts: Mapping[str, Any], target: str) -> dict[str, Any]:
    """Arguments of the image built from one target of the model's Dockerfile."""
    build: dict[str, Any] = {
        "context": str(REPOSITORY / "model"),
        "target": target,
        "repository": f"{facts['registry']}/{target}-tests",
    }
    if facts.get("builder"):
        build["builder_name"] = facts["builder"]
    if facts.get("base_image"):
        build["build_args"] = {"BASE_IMAGE": facts["base_image"]}
    return build


def base_program(namespace: str, facts: Mapping[str, Any]) -> Callable[[k8s.Provider], Mapping[str, Any]]:
    """The serving image and a registry that this process can reach."""
    mlflow = UPSTREAM_IMAGES["mlflow"]
    registry = {
        "namespace": namespace,
        "image": facts.get("images", {}).get(mlflow, mlflow),
        "storage_size": "1Gi",
        "expose": exposure(),
        "resources": {"cpu": "100m", "memory": "640Mi", "memory_limit": "1536Mi"},
    }

    def program(provider: k8s.Provider) -> Mapping[str, Any]:
        image = ModelImage("serve", image_args(facts, "serve"))  # type: ignore[arg-type]
        made = ModelRegistry("registry", registry, pulumi.ResourceOptions(provider=provider))  # type: ignore[arg-type]
        return {"image": image.ref, "tracking_uri": made.tracking_uri, "registry_url": made.url}

    return program


def versions(pods: Sequence[Mapping[str, Any]]) -> set[str]:
    """The model versions that pods serve, without the `run-` of their alias."""
    return {pod["metadata"]["labels"]["app.kubernetes.io/version"].removeprefix("run-") for pod in pods}


def released(outcome: Outcome) -> dict[str, list[str]]:
    """What an operation changed, by resource name, without the watches: every release makes new ones."""
    return {name: operations for name, operations in outcome.changed().items() if not name.endswith("-watch")}
