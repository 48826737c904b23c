"""What holds for all tests: the checkout's own code, which tests are slow, and settings of the tools."""

import asyncio
import gc
import os
import socketserver
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

REPOSITORY = Path(__file__).resolve().parents[1]
SLOW_FIXTURES = frozenset({"installed", "mlflow_url", "promtool", "store"})
"""A test that uses one of these is an integration test: pip and mypy, an MLflow server, a build of Prometheus, object
stores."""
SLOW_FILES = frozenset(
    {
        "tests/assets/test_site.py",
        "tests/package/test_bisect.py",
        "tests/package/test_import.py",
        "tests/package/test_release.py",
        "tests/package/test_runtime_package.py",
        "tests/security/test_manifests.py",
        "tests/unit/components/test_registry_stores.py",
        "tests/unit/examples/test_data.py",
        "tests/unit/model/steps/test_pipeline.py",
        "tests/unit/model/steps/test_pipeline_stores.py",
        "tests/unit/model/steps/test_dask.py",
        "tests/unit/model/steps/test_sql.py",
        "tests/unit/model/test_clients.py",
        "tests/unit/model/test_dataset.py",
        "tests/unit/model/test_engine.py",
        "tests/unit/model/test_fetch_stores.py",
        "tests/unit/model/test_evaluation_models.py",
        "tests/unit/model/test_finetune.py",
        "tests/unit/model/test_fuzz.py",
        "tests/unit/model/test_grpc.py",
        "tests/unit/model/test_lifecycle.py",
        "tests/unit/model/test_mlflow_flavours.py",
        "tests/unit/model/test_mlflow_models.py",
        "tests/unit/model/test_page.py",
        "tests/unit/model/test_rendezvous.py",
        "tests/unit/model/test_runtimes.py",
        "tests/unit/model/test_sweep.py",
        "tests/unit/model/test_tracing.py",
        "tests/unit/model/test_train.py",
        "tests/unit/model/test_transfer.py",
        "tests/unit/model/test_workers.py",
        "tests/unit/model/test_write_model.py",
        "tests/unit/stacks/test_network_policies.py",
    }
)
"""Integration tests too: real servers, trainings, Dask, a browser, wheels, the docs site."""

# A time limit for each example would fail correct tests on a busy machine.
settings.register_profile("project", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("project")

# For the processes that tests start; pytest's `pythonpath` does the same for the tests themselves.
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(REPOSITORY / "components"), str(REPOSITORY / "model"), *filter(None, [os.environ.get("PYTHONPATH")])]
)

# A server of a test notices `shutdown()` at its next poll, by default twice a second.
socketserver.BaseServer.serve_forever.__defaults__ = (0.01,)

# By default, a collection for every 700 new objects, the library's tests spend a fifth of their time on collections.
gc.set_threshold(50_000)


@pytest.hookimpl(tryfirst=True)  # before `-m` selects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the integration tests."""
    for item in items:
        slow_file = item.path.relative_to(REPOSITORY).as_posix() in SLOW_FILES
        if slow_file or SLOW_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker("integration")


def pytest_runtest_setup() -> None:
    """Pulumi's outputs need an event loop in the main thread; a test before may have ended it by `asyncio.run`."""
    try:
        asyncio.get_event_loop_policy().get_event_loop()
    except RuntimeError:
        asyncio.set_event_loop(asyncio.new_event_loop())


@pytest.fixture
def figure(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Notes a measured figure, to be printed at the end of the session whether or not a test failed."""
    return partial(record_property, "figure")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints what the tests measured."""
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.getreports(kind)]
    # A test's reports share its properties, so those of its call alone are looked at.
    called = [report for report in reports if isinstance(report, pytest.TestReport) and report.when == "call"]
    figures = [value for report in called for name, value in report.user_properties if name == "figure"]
    if figures:
        terminalreporter.section("figures")
        for line in figures:
            terminalreporter.write_line(str(line))
