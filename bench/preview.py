"""How long a preview of the dev stack takes, by the clock and of the processor, with and without monitoring.

    eval "$(python3 -m devkit env)" && .venv/bin/python -m bench.preview [--runs 5]

Three variants take turns: `off`, `metrics` (Prometheus, Alertmanager, node-exporter, kube-state-metrics) and `all`
(with Grafana and the log pipeline, whether or not their images can be pulled: nothing is created). Each is the first
preview of a stack with a back end of its own, so every object is new and nothing of a running stack is touched. Look at
the differences: absolute figures depend on the machine.
"""

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parents[1]
METRICS = ("prometheus", "alertmanager", "node_exporter", "kube_state_metrics")
VARIANTS: dict[str, tuple[str, ...]] = {"off": (), "metrics": METRICS, "all": (*METRICS, "grafana", "elk")}
STACK = "dev"


class Project:
    """A copy of the project with an empty back end, in which the parts of a variant are on."""

    def __init__(self, folder: Path, on: tuple[str, ...]) -> None:
        self._folder = folder
        for name in ("Pulumi.yaml", "__main__.py", "components", "model", "stacks"):
            source = REPOSITORY / name
            if source.is_dir():
                shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
            else:
                shutil.copy2(source, folder / name)
        (folder / ".venv").symlink_to(REPOSITORY / ".venv")
        (folder / "backend").mkdir()
        config = folder / "stacks" / f"Pulumi.{STACK}.yaml"
        document: dict[str, Any] = yaml.safe_load(config.read_text())
        monitoring = document["config"]["modelops:monitoring"]
        for part in VARIANTS["all"]:
            monitoring[part] = {**monitoring.get(part, {}), "enabled": part in on}
        config.write_text(yaml.safe_dump(document, sort_keys=False))
        self._environment = {**os.environ, "PULUMI_BACKEND_URL": f"file://{folder / 'backend'}"}
        if platform := os.environ.get("MODELOPS_PLATFORM"):
            # Nothing is pulled: every image may be asked for.
            facts = json.loads(Path(platform).read_text()) | {"unavailable": {}}
            (folder / "platform.json").write_text(json.dumps(facts))
            self._environment["MODELOPS_PLATFORM"] = str(folder / "platform.json")
        self._pulumi("stack", "init", STACK)

    def _pulumi(self, *arguments: str) -> str:
        done = subprocess.run(
            ["pulumi", *arguments, "--non-interactive"],
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            raise SystemExit(done.stdout + done.stderr)
        return done.stdout

    def objects(self) -> int:
        """How many objects the preview would create."""
        return int(json.loads(self._pulumi("preview", "--json", "--stack", STACK))["changeSummary"]["create"])

    def seconds(self) -> tuple[float, float]:
        """How long a preview takes by the clock, and of the processor, plugins included."""
        start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        self._pulumi("preview", "--stack", STACK)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return time.perf_counter() - start, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="previews of each variant")
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as folder:
        projects = {}
        for name, on in VARIANTS.items():
            (own := Path(folder, name)).mkdir()
            projects[name] = Project(own, on)
        objects = {name: project.objects() for name, project in projects.items()}  # the first one also fills caches
        took: dict[str, list[tuple[float, float]]] = {name: [] for name in projects}
        for _ in range(runs):
            for name, project in projects.items():
                took[name].append(project.seconds())
    print(f"{runs} runs, load {os.getloadavg()[0]:.1f}: median (least), and the difference to off")
    for index, kind in enumerate(("clock", "processor")):
        for name, pairs in took.items():
            times, off = [pair[index] for pair in pairs], [pair[index] for pair in took["off"]]
            median, least = statistics.median(times), min(times)
            more = f"{median - statistics.median(off):+.2f} ({least - min(off):+.2f})"
            print(f"{kind:<9} {name:<7} {objects[name]:>3} objects  {median:6.2f} ({least:.2f}) s  {more} s")


if __name__ == "__main__":
    main()
