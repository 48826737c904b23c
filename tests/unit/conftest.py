"""Property tests without a time limit an example: on a busy machine it would fail tests that are right."""

from hypothesis import HealthCheck, settings

settings.register_profile("project", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("project")
