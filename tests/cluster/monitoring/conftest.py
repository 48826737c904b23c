"""Fixtures of the monitoring tests."""

from tests.cluster.serving.conftest import serving

__all__ = ["serving"]
