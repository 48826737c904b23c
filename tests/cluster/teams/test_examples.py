"""Each example as a team runs it: a program outside the checkout, the library installed from its wheel, the real engine
and cluster."""

import json
import shutil
import signal
import subprocess
import venv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from devkit import dist
from tests.cluster.provider.harness import Stack
from tests.cluster.serving.support import Serving, image_args
from tests.cluster.support import REPOSITORY, eventually, kubectl, objects, platform_facts, post
from tests.package.clean_environment import clean_environment

pytestmark = [pytest.mark.teams, pytest.mark.long]


class Example:
    """A copy of an example with a stack and a back end of its own."""

    def __init__(self, name: str, folder: Path, environment: Path) -> None:
        shutil.copytree(REPOSITORY / "examples" / name, folder, ignore=shutil.ignore_patterns(".venv", "__pycache__"))
        (folder / ".venv").symlink_to(environment)
        (folder / "backend").mkdir()
        self.folder = folder
        self.environment = {
            **clean_environment(),
            "PULUMI_BACKEND_URL": f"file://{folder / 'backend'}",
            "PULUMI_CONFIG_PASSPHRASE": "teams",
        }
        self.pulumi("stack", "init", "test")

    def command(self, *arguments: str) -> list[str]:
        return ["pulumi", *arguments, "--non-interactive", "--color=never"]

    def pulumi(self, *arguments: str) -> str:
        done = subprocess.run(
            self.command(*arguments), cwd=self.folder, env=self.environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def up(self, **config: str) -> dict[str, Any]:
        """Sets config, brings the stack up, finds that a second `up` has nothing to do; the outputs."""
        self.configure(**config)
        self.pulumi("up", "--yes", "--skip-preview")
        self.pulumi("preview", "--expect-no-changes")
        return dict(json.loads(self.pulumi("stack", "output", "--json")))

    def configure(self, **config: str) -> None:
        for key, value in config.items():
            self.pulumi("config", "set", key, value)

    def destroy(self) -> None:
        self.pulumi("destroy", "--yes", "--skip-preview")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh virtual environment with the library's wheel and what that declares."""
    folder = tmp_path_factory.mktemp("installed")
    [wheel] = (
        each
        for each in dist.build(folder / "dist")
        if each.name.startswith("modelops_pulumi-") and each.suffix == ".whl"
    )
    venv.create(folder / "venv", with_pip=True)
    command = [folder / "venv" / "bin" / "python", "-m", "pip", "install", "--quiet", wheel]
    subprocess.run(command, env=clean_environment(), check=True)
    return folder / "venv"


@pytest.fixture
def example(platform_env: dict[str, str], installed: Path, tmp_path: Path) -> Iterator[Callable[[str], Example]]:
    made: list[Example] = []

    def make(name: str) -> Example:
        made.append(Example(name, tmp_path / name, installed))
        return made[-1]

    yield make
    for each in made:
        each.destroy()


def common(serving: Serving, alias: str = "double") -> dict[str, str]:
    args = serving.args(alias)
    return {key: args[key] for key in ("namespace", "image", "model_uri", "tracking_uri")}


def predicts(url: str, value: float) -> Any:
    """The answer for 0.5, once it is that value."""

    def answered() -> bool:
        status, answer = post(url, {"inputs": [[0.5]]})
        return status == 200 and abs(answer["outputs"][0] - value) < 0.2

    return eventually(answered)


def test_the_smallest_service(serving: Serving, example: Callable[[str], Example]) -> None:
    assert predicts(example("service").up(**common(serving))["predict_url"], 2.0)


def test_blue_and_green_take_turns(serving: Serving, example: Callable[[str], Example]) -> None:
    tracks = example("blue-green")
    assert predicts(tracks.up(**common(serving), live="blue")["predict_url"], 2.0)
    new = {"live": "green", "model_uri": serving.uri("triple"), "standby": serving.uri("double")}
    assert predicts(tracks.up(**new)["predict_url"], 2.5)


def test_a_team_with_a_cluster_and_monitoring_of_its_own(serving: Serving, example: Callable[[str], Example]) -> None:
    context = kubectl("config", "current-context").strip()
    url = example("existing-cluster").up(**common(serving), context=context, team="payments")["url"]
    assert url == f"http://demo.{serving.namespace}.svc"
    [pod] = serving.pods("demo")
    assert pod["metadata"]["labels"]["team"] == "payments"
    assert pod["metadata"]["annotations"]["prometheus.io/scrape"] == "true"


def test_a_large_model_is_taken_by_the_api_server(namespace: str, example: Callable[[str], Example]) -> None:
    """There is no GPU here: the pod is taken and waits for one."""
    chat = example("large-model")
    chat.configure(namespace=namespace, cpu="100m", memory="128Mi", cache_size="1Gi")
    up = subprocess.Popen(
        chat.command("up", "--yes", "--skip-preview"),
        cwd=chat.folder,
        env=chat.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )

    def unschedulable() -> str | None:
        for pod in objects("pods", namespace):
            for condition in pod["status"].get("conditions", []):
                if "nvidia.com/gpu" in condition.get("message", ""):
                    return str(condition["message"])
        return None

    try:
        assert "Insufficient nvidia.com/gpu" in eventually(unschedulable, timeout_seconds=120)
    finally:
        up.send_signal(signal.SIGINT)
        up.communicate(timeout=120)


def test_training_and_service(
    namespace: str, platform_env: dict[str, str], tmp_path: Path, example: Callable[[str], Example]
) -> None:
    import pulumi_kubernetes as k8s

    from modelops import ModelImage

    facts = platform_facts()

    def images(provider: k8s.Provider) -> dict[str, Any]:
        return {target: ModelImage(target, image_args(facts, target)).ref for target in ("train", "serve")}  # type: ignore[arg-type]

    built = Stack(tmp_path / "images", namespace=namespace)
    built.up(images)
    refs = built.outputs()
    found = example("training").up(namespace=namespace, train_image=refs["train"], image=refs["serve"])
    assert predicts(found["predict_url"], 2.0)
    assert found["metrics"]["mse"] < 0.1
