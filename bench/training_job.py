"""What TrainingJob costs over a plain Indexed Job, on the cluster of the current kubeconfig.

    eval "$(python3 -m devkit env)" && .venv/bin/python -m bench.training_job [--runs 10] [--workers 4] [--only workers]

`workers`: the time until the pods of all workers are created, from the Job's creation and from the start of
`pulumi up`. TrainingJob takes turns with a plain Indexed Job of exactly the same pods, which shows what the component
costs, and with one of as many bare pods (one container that sleeps), which shows what its containers cost. `creation`:
the time until the Jobs of 1, 10 and 100 runs are created (suspended, because they need too large a machine), as
components, as plain Jobs and as one sweep. Nothing is trained. Absolute figures depend on the machine: compare ratios.
"""

import argparse
import contextlib
import json
import os
import platform
import statistics
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import kubernetes
import pulumi
import pulumi_kubernetes as k8s
import urllib3

from modelops import TrainingJob
from tests.cluster.provider.harness import Program, Stack
from tests.cluster.support import eventually, kubectl, objects

RESULTS = Path(__file__).parent / "results" / "training_job.json"
SAME_PODS, OURS = "plain Indexed Job of the same pods", "TrainingJob"
COUNTS = (1, 10, 100)
RESOURCES = {"cpu": "10m", "memory": "16Mi"}
TIMEOUT_SECONDS = 600


class Arrivals:
    """When the Jobs and pods of a namespace were created, as a watch sees it, to the millisecond."""

    def __init__(self, namespace: str) -> None:
        self.jobs: list[float] = []
        self.pods: list[float] = []
        self._watches = [kubernetes.watch.Watch(), kubernetes.watch.Watch()]
        lists = (
            (kubernetes.client.BatchV1Api().list_namespaced_job, self.jobs),
            (kubernetes.client.CoreV1Api().list_namespaced_pod, self.pods),
        )
        for watch, (list_objects, arrivals) in zip(self._watches, lists, strict=True):
            version = list_objects(namespace).metadata.resource_version
            arguments = (watch, list_objects, namespace, version, arrivals)
            threading.Thread(target=self._note, args=arguments, daemon=True).start()

    @staticmethod
    def _note(watch: Any, list_objects: Any, namespace: str, version: str, arrivals: list[float]) -> None:
        # Stopping a watch breaks its connection, sometimes in the middle of an event.
        with contextlib.suppress(urllib3.exceptions.HTTPError, OSError, AttributeError):
            for event in watch.stream(list_objects, namespace, resource_version=version):
                if event and event["type"] == "ADDED":
                    arrivals.append(time.perf_counter())

    def stop(self) -> None:
        """Stops watching."""
        for watch in self._watches:
            watch.stop()


def image() -> str:
    """The platform's base image."""
    facts = json.loads(Path(os.environ["MODELOPS_PLATFORM"]).read_text())
    return str(facts["base_image"])


def training(provider: k8s.Provider, name: str, namespace: str, **changes: Any) -> None:
    """A TrainingJob with a fictitious registry: its pods are only created."""
    args: dict[str, Any] = {
        "namespace": namespace,
        "image": image(),
        "model_name": "bench",
        "framework": "pytorch",
        "tracking_uri": "http://registry.invalid",
        "command": ["sleep", "600"],
        "resources": RESOURCES,
        # Only the Jobs and pods that train are counted.
        "watch": False,
        **changes,
    }
    TrainingJob(name, args, pulumi.ResourceOptions(provider=provider))  # type: ignore[arg-type]


def bare_pod() -> dict[str, Any]:
    """One container that sleeps."""
    container = {
        "name": "train",
        "image": image(),
        "command": ["sleep", "600"],
        "resources": {"requests": RESOURCES},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    security = {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}}
    return {"restartPolicy": "Never", "securityContext": security, "containers": [container]}


def plain(
    provider: k8s.Provider, name: str, namespace: str, workers: int, pod: Mapping[str, Any], *, suspend: bool = False
) -> None:
    """What a user would write by hand: an Indexed Job of such pods."""
    shape = {"completionMode": "Indexed", "completions": workers, "parallelism": workers, "backoffLimit": 0}
    spec: Any = {**shape, "suspend": suspend, "template": {"spec": pod}}
    k8s.batch.v1.Job(name, metadata={"namespace": namespace}, spec=spec, opts=pulumi.ResourceOptions(provider=provider))


def pod_spec(namespace: str, workers: int) -> dict[str, Any]:
    """The spec of a TrainingJob's pods, without the service account that it creates for them."""
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(Path(folder, "stack"), namespace=namespace)
        running = stack.start(lambda provider: training(provider, "pods", namespace, workers=workers, suspend=True))
        try:
            job = eventually(lambda: next(iter(objects("jobs", namespace)), None), 120)
        finally:
            running.interrupt()
            running.end(120)
            stack.destroy(succeed=None)
    spec: dict[str, Any] = job["spec"]["template"]["spec"]
    return {key: value for key, value in spec.items() if key not in ("serviceAccount", "serviceAccountName")}


def measure(namespace: str, program: Program, jobs: int, pods: int) -> tuple[float, float, float]:
    """Seconds from the start of `pulumi up` until the Jobs and until the pods exist; and between the two."""
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(Path(folder, "stack"), namespace=namespace)
        arrivals = Arrivals(namespace)
        started = time.perf_counter()
        # Otherwise Pulumi would start only four waiting trainings per core.
        running = stack.start(program, "--parallel", str(2 * max(COUNTS)))
        try:
            deadline = started + TIMEOUT_SECONDS
            while len(arrivals.jobs) < jobs or len(arrivals.pods) < pods:
                if time.perf_counter() > deadline:
                    raise SystemExit(f"not everything was created:\n{running.text()}")
                time.sleep(0.01)
        finally:
            running.interrupt()
            running.end(120)
            arrivals.stop()
            stack.destroy(succeed=None)
    created, complete = arrivals.jobs[jobs - 1], arrivals.pods[pods - 1] if pods else arrivals.jobs[jobs - 1]
    return created - started, complete - started, complete - created


def bench_workers(namespace: str, runs: int, workers: int) -> None:
    """TrainingJob and plain Indexed Jobs in turns."""
    spec = pod_spec(namespace, workers)
    programs: Mapping[str, Program] = {
        SAME_PODS: lambda provider: plain(provider, "bench", namespace, workers, spec),
        "plain Indexed Job of bare pods": lambda provider: plain(provider, "bench", namespace, workers, bare_pod()),
        OURS: lambda provider: training(provider, "bench", namespace, workers=workers),
    }
    results: dict[str, list[tuple[float, float, float]]] = {name: [] for name in programs}
    for run in range(runs):
        for name in list(programs)[:: 1 if run % 2 else -1]:
            results[name].append(measure(namespace, programs[name], 1, workers))
            print(
                f"run {run + 1}: {name} {results[name][-1][2]:.3f} s after the Job, {results[name][-1][1]:.2f} s in all"
            )
    print(
        f"\n| {workers} workers, median of {runs} | from the Job's creation | from the start of `up` |\n|---|---|---|"
    )
    medians = {}
    for name, values in results.items():
        medians[name] = [statistics.median(value[column] for value in values) for column in (2, 1)]
        print(f"| {name} | {medians[name][0]:.3f} s | {medians[name][1]:.2f} s |")
    *plains, ours = medians.items()
    for name, base in plains:
        print(f"| ratio to the {name} | {ours[1][0] / base[0]:.2f} | {ours[1][1] / base[1]:.2f} |")
    seconds = {name: [value[2] for value in values] for name, values in results.items()}
    machine = {"cores": os.cpu_count(), "python": platform.python_version(), "load": round(os.getloadavg()[0], 1)}
    found = {"machine": machine, "workers": workers, "seconds_from_the_job": seconds}
    RESULTS.write_text(json.dumps(found, indent=2) + "\n")


def bench_creation(namespace: str) -> None:
    """Many runs at once, suspended."""

    def plain_jobs(provider: k8s.Provider, count: int) -> None:
        for run in range(count):
            plain(provider, f"run-{run}", namespace, 1, bare_pod(), suspend=True)

    def training_jobs(provider: k8s.Provider, count: int) -> None:
        for run in range(count):
            training(provider, f"run-{run}", namespace, parameters={"run": run}, suspend=True)

    def one_sweep(provider: k8s.Provider, count: int) -> None:
        training(provider, "sweep", namespace, sweep={"run": list(range(count))}, sweep_metric="loss", suspend=True)

    kinds: Mapping[str, Callable[[k8s.Provider, int], None]] = {
        "plain Jobs": plain_jobs,
        "TrainingJobs": training_jobs,
        "one TrainingJob with a sweep": one_sweep,
    }
    print(f"\n| until the Jobs are created | {' | '.join(f'{count} runs' for count in COUNTS)} |\n|---|---|---|---|")
    for name, build in kinds.items():
        seconds = []
        for count in COUNTS:
            jobs = 1 if "sweep" in name else count
            seconds.append(measure(namespace, lambda provider, n=count, b=build: b(provider, n), jobs, 0)[0])
        print(f"| {name} | {' | '.join(f'{value:.1f} s' for value in seconds)} |")


def main() -> None:
    """Runs the selected benchmarks in a new namespace."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--only", choices=("workers", "creation"))
    options = parser.parse_args()
    kubernetes.config.load_kube_config()
    namespace = f"bench-{uuid.uuid4().hex[:8]}"
    kubectl("create", "namespace", namespace)
    try:
        if options.only != "creation":
            bench_workers(namespace, options.runs, options.workers)
        if options.only != "workers":
            bench_creation(namespace)
    finally:
        kubectl("delete", "namespace", namespace, "--wait=false")


if __name__ == "__main__":
    main()
