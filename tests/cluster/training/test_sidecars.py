"""Trainings in a namespace whose pods get a sidecar, as a mesh injects it: before all other containers."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from tests.cluster.admission import cel, mutating
from tests.cluster.provider.harness import Stack
from tests.cluster.training.plain_trainings import PlainTrainings

pytestmark = pytest.mark.training

PROXY = "istio-proxy"
# It runs on until it is stopped, and then ends with the code of a process that SIGTERM ends.
_PROGRAM = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(143)); time.sleep(3600)"
WRITES = "import os, pathlib; pathlib.Path(os.environ['MODELOPS_OUTPUT_DIR'], 'result').write_text('42')"


@pytest.fixture
def stack(trainings: PlainTrainings) -> Iterator[Stack]:
    made = trainings.new_stack()
    yield made
    made.destroy(succeed=None)


@contextmanager
def injecting(namespace: str, image: str, *, native: bool) -> Iterator[None]:
    """Every pod that is created in the namespace gets the sidecar, a plain container or a native one."""
    container: dict[str, Any] = {
        "name": PROXY,
        "image": image,
        "command": ["python3", "-c", _PROGRAM],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    if native:
        container["restartPolicy"] = "Always"
        first = f'JSONPatch{{op: "add", path: "/spec/initContainers/0", value: {cel(container)}}}'
        only = f'JSONPatch{{op: "add", path: "/spec/initContainers", value: {cel([container])}}}'
        expression = f"[has(object.spec.initContainers) ? {first} : {only}]"
    else:
        expression = f'[JSONPatch{{op: "add", path: "/spec/containers/0", value: {cel(container)}}}]'
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    with mutating(f"{namespace}-sidecar", namespace, rule, expression):
        time.sleep(2)  # The API server reads its policies once a second.
        yield


def injected(pod: Mapping[str, Any], where: str) -> bool:
    """Whether the sidecar is the first of the pod's (init) containers."""
    return bool(pod["spec"][where][0]["name"] == PROXY)


def test_a_training_beside_a_native_sidecar_is_published_and_its_failures_are_counted(
    trainings: PlainTrainings, stack: Stack
) -> None:
    changes: dict[str, Any] = {"runtime_image": trainings.image, "command": ["python3", "-c", WRITES]}
    with injecting(trainings.namespace, trainings.image, native=True):
        stack.up(trainings.program("beside", "count", **changes))
        [pod] = trainings.pods("beside")
        assert injected(pod, "initContainers")
        # A sidecar that is stopped ends with 143: that is neither the training's end nor a reason to try for ever.
        failing = {**changes, "command": ["python3", "-c", "raise SystemExit(1)"], "retries": 1}
        began = time.monotonic()
        stack.up(trainings.program("fails", "count", **failing), succeed=False)
        assert time.monotonic() - began < 240
    [job] = trainings.jobs("fails")
    assert job["status"]["failed"] == 2
    [reason] = [each["reason"] for each in job["status"]["conditions"] if each["type"] == "Failed"]
    assert reason == "BackoffLimitExceeded"


def test_a_plain_sidecar_that_keeps_a_training_is_told_by_its_name(trainings: PlainTrainings, stack: Stack) -> None:
    changes: dict[str, Any] = {"runtime_image": trainings.image, "command": ["python3", "-c", WRITES]}
    with injecting(trainings.namespace, trainings.image, native=False):
        outcome = stack.up(trainings.program("kept", "count", **changes, timeout_seconds=60), succeed=False)
    assert f"{PROXY} was injected into its pods: unless that ends by itself, the Job never completes" in outcome.text
    assert "DeadlineExceeded" in outcome.text
