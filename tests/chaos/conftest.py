"""The real cluster, as the cluster tests have it."""

from tests.cluster.conftest import (
    home_before,
    namespace,
    platform_env,
    platform_was_up,
    test_image,
    traces_before,
)
from tests.cluster.serving.conftest import serving
from tests.cluster.training.conftest import trainings

__all__ = [
    "home_before",
    "namespace",
    "platform_env",
    "platform_was_up",
    "serving",
    "test_image",
    "traces_before",
    "trainings",
]
