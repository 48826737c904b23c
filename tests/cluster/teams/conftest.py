"""What the tests of this folder share: a registry with tiny models, and two environments of the stack itself."""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from modelops import ModelImage
from tests.cluster.provider.harness import Stack
from tests.cluster.serving.conftest import serving
from tests.cluster.serving.support import image_args
from tests.cluster.support import platform_facts
from tests.cluster.teams import environments
from tests.cluster.teams.environments import Environment
from tests.cluster.training.registry import platform_image

__all__ = ["serving"]


@pytest.fixture(scope="package")
def staging_and_prod(
    platform_env: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Environment, Environment]]:
    """`staging`, which has trained, and `prod`, which has not been brought up yet."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("PULUMI_BACKEND_URL", "PULUMI_CONFIG_PASSPHRASE"):
            patch.setenv(name, "")
        patch.delenv("PULUMI_CONFIG_PASSPHRASE_FILE", raising=False)
        project = environments.copy_of_the_project(tmp_path_factory.mktemp("teams") / "project")
        mlflow = platform_image(platform_facts(), "mlflow_full")
        run = uuid.uuid4().hex[:6]
        staging = environments.staging(project, f"promotion-{run}-staging", mlflow)
        prod = environments.prod(project, f"promotion-{run}-prod", staging)
        try:
            staging.first_up = staging.up()
            yield staging, prod
        finally:
            for each in (prod, staging):
                each.destroy()


@pytest.fixture(scope="package")
def serving_image(platform_env: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The serving image, by digest."""
    stack = Stack(tmp_path_factory.mktemp("image") / "stack")
    args: Any = image_args(platform_facts(), "serve")
    stack.up(lambda provider: {"image": ModelImage("serve", args).ref})
    yield stack.outputs()["image"]
    stack.destroy(succeed=None)
