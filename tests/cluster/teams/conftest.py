"""A registry with tiny models and an image to serve them with, as the serving tests have."""

from tests.cluster.serving.conftest import serving

__all__ = ["serving"]
