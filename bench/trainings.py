"""What many TrainingJobs in one stack cost `pulumi up`, beside as many plain Jobs of the same image.

    eval "$(python3 -m devkit env)" && .venv/bin/python -m bench.trainings [--count 100] [--runs 3]

Three programs take turns: `plain` makes Jobs with pulumi_kubernetes; `training` makes TrainingJobs that nobody waits
for (`wait: false`); `objects` makes the same objects as `training`, each as a plain resource with the same inputs,
which tells what the number of objects costs from what the component does. Each is the first `up` of a stack with its
own back end, in a namespace whose quota lets no pod start. So the processor seconds are those of the update alone:
of the engine, of the Kubernetes provider, and of the program without its imports. Look at the ratios.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from bench.training_job import bare_pod, image, training
from tests.cluster.provider.harness import Stack
from tests.cluster.support import kubectl

RESULTS = Path(__file__).parent / "results" / "trainings.json"
PARTS = ("engine", "provider", "program")
KINDS = ("plain", "training", "objects")
POLL_SECONDS = 0.2
TIMEOUT_SECONDS = 3600
TICKS = os.sysconf("SC_CLK_TCK")

Program = Callable[[k8s.Provider], None]


def plain(namespace: str, count: int) -> Program:
    """Jobs as one would write them by hand."""

    def program(provider: k8s.Provider) -> None:
        opts = pulumi.ResourceOptions(provider=provider)
        for run in range(count):
            metadata = {"namespace": namespace, "annotations": {"pulumi.com/waitFor": "jsonpath={.metadata.uid}"}}
            spec: Any = {"backoffLimit": 0, "template": {"spec": bare_pod()}}
            k8s.batch.v1.Job(f"run-{run}", metadata=metadata, spec=spec, opts=opts)  # type: ignore[arg-type]

    return program


def trainings(namespace: str, count: int) -> Program:
    """TrainingJobs, each with its own parameters."""

    def program(provider: k8s.Provider) -> None:
        for run in range(count):
            more: dict[str, Any] = {"watch": True, "wait": False, "runtime_image": image()}
            training(provider, f"run-{run}", namespace, parameters={"run": run}, **more)

    return program


def same_objects(namespace: str, made: list[dict[str, Any]]) -> Program:
    """The objects of a stack that was made by another program."""

    def program(provider: k8s.Provider) -> None:
        opts = pulumi.ResourceOptions(provider=provider)
        for number, each in enumerate(made):
            inputs = {**each["inputs"], "metadata": {**each["inputs"]["metadata"], "namespace": namespace}}
            pulumi.CustomResource(each["type"], f"{number}", inputs, opts)

    return program


def made_by(stack: Stack) -> list[dict[str, Any]]:
    """The objects in a stack's state, without what it only read."""
    ours = [each for each in resources(stack) if each["type"].startswith("kubernetes:") and not each.get("external")]
    return [{"type": each["type"], "inputs": each["inputs"]} for each in ours]


def resources(stack: Stack) -> list[dict[str, Any]]:
    """The resources in a stack's state."""
    found: list[dict[str, Any]] = json.loads(stack.state_text())["deployment"]["resources"]
    return found


@contextmanager
def namespace_without_pods() -> Iterator[str]:
    """A namespace in which no pod starts."""
    name = f"bench-{uuid.uuid4().hex[:8]}"
    kubectl("create", "namespace", name)
    try:
        kubectl("create", "quota", "no-pods", "--hard=pods=0", "-n", name)
        yield name
    finally:
        kubectl("delete", "namespace", name, "--wait=false")


def processor_seconds(processes: Mapping[int, str]) -> dict[str, float]:
    """What the processes have used, by part."""
    seconds = dict.fromkeys(("engine", "provider"), 0.0)
    for process, part in processes.items():
        with suppress(OSError):  # it has ended
            seconds[part] += sum(map(int, stat(process)[11:13])) / TICKS
    return seconds


def with_plugins(engine: int) -> dict[int, str]:
    """The engine, and the plugins that it has started."""
    processes = {engine: "engine"}
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if int(stat(int(entry.name))[1]) == engine:
                processes[int(entry.name)] = "provider"
    return processes


def stat(process: int) -> list[str]:
    """The kernel's figures of a process, from its state on."""
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()


def measure(stack: Stack, program: Program) -> dict[str, float]:
    """Elapsed and processor seconds of an `up`, and the size of the state that it leaves."""
    before, started = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    running, seconds = stack.start(lambda provider: program(provider)), {"engine": 0.0, "provider": 0.0}
    try:
        looks, processes = 0, {}
        while running.code() is None:
            # To look for plugins each time would cost more than the program does.
            processes = processes if looks % 5 else with_plugins(running.process_id)
            looks += 1
            seconds = {part: max(was, seconds[part]) for part, was in processor_seconds(processes).items()}
            if time.perf_counter() > started + TIMEOUT_SECONDS:
                running.interrupt()
            time.sleep(POLL_SECONDS)
    finally:
        wall = time.perf_counter() - started
        code = running.end(60)
    if code:
        raise SystemExit(f"the update failed:\n{running.text()[-3000:]}")
    after = resource.getrusage(resource.RUSAGE_SELF)
    own = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "seconds": wall,
        **seconds,
        "program": own,
        "resources": len(resources(stack)),
        "state_kilobytes": len(stack.state_text()) / 1000,
    }


def one(kind: str, count: int, objects: Path) -> dict[str, float]:
    """One `up` of one of the programs, in a process of its own. `objects` keeps those of `training` for `objects`."""
    programs: Mapping[str, Callable[[str], Program]] = {
        "plain": lambda namespace: plain(namespace, count),
        "training": lambda namespace: trainings(namespace, count),
        "objects": lambda namespace: same_objects(namespace, json.loads(objects.read_text())),
    }
    with namespace_without_pods() as namespace, tempfile.TemporaryDirectory() as folder:
        stack = Stack(Path(folder, "stack"), namespace=namespace)
        found = measure(stack, programs[kind](namespace))
        if kind == "training":
            objects.write_text(json.dumps(made_by(stack)))
    return found


def in_turns(kinds: list[str], count: int, runs: int) -> dict[str, list[dict[str, float]]]:
    """The programs in turns."""
    results: dict[str, list[dict[str, float]]] = {kind: [] for kind in kinds}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(runs):
            for kind in kinds:
                words = [sys.executable, "-m", "bench.trainings", "--count", str(count)]
                done = subprocess.run(
                    [*words, "--one", kind, str(Path(folder, "objects.json"))], stdout=subprocess.PIPE, text=True
                )
                if done.returncode:
                    raise SystemExit(done.returncode)
                results[kind].append(json.loads(done.stdout))
                print(kind, {key: round(value, 1) for key, value in results[kind][-1].items()}, flush=True)
    return results


def summary(results: Mapping[str, list[dict[str, float]]]) -> dict[str, dict[str, float]]:
    """Medians of each program, and the ratio of its work to that of the plain Jobs."""
    medians = {
        kind: {key: round(statistics.median(each[key] for each in found), 2) for key in found[0]}
        for kind, found in results.items()
    }
    for found in medians.values():
        found["work"] = round(sum(found[part] for part in PARTS), 2)
    for found in medians.values():
        if "plain" in medians:
            found["ratio"] = round(found["work"] / medians["plain"]["work"], 2)
    return medians


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(one(options.one[0], options.count, Path(options.one[1]))))
        return
    results = in_turns(options.only, options.count, options.runs)
    medians = summary(results)
    print(f"\n| {options.count} of | {' | '.join(medians[options.only[0]])} |")
    for kind, found in medians.items():
        print(f"| {kind} | {' | '.join(f'{value:g}' for value in found.values())} |")
    machine = {"cores": os.cpu_count(), "python": platform.python_version(), "load": round(os.getloadavg()[0], 1)}
    saved = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    found = {"machine": machine, "medians": medians, "runs": results}
    RESULTS.write_text(json.dumps({**saved, str(options.count): found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
