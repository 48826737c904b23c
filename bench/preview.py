"""How long a preview of the dev stack takes, in elapsed and in CPU time, with and without monitoring.

    eval "$(python3 -m devkit env)" && .venv/bin/python -m bench.preview [--runs 5]

Three variants take turns: `off`, `metrics` (Prometheus, Alertmanager, node-exporter, kube-state-metrics) and `all`
(with Grafana and the log pipeline, even if their images can't be pulled: nothing is created). Each is the first
preview of a stack with its own back end, so every object is new and no running stack is touched. Look at the
differences: absolute figures depend on the machine.
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
    """A copy of the project with an empty back end and the parts of a variant enabled."""

    def __init__(self, folder: Path, enabled: tuple[str, ...]) -> None:
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
            monitoring[part] = {**monitoring.get(part, {}), "enabled": part in enabled}
        config.write_text(yaml.safe_dump(document, sort_keys=False))
        self._environment = {**os.environ, "PULUMI_BACKEND_URL": f"file://{folder / 'backend'}"}
        if platform := os.environ.get("MODELOPS_PLATFORM"):
            # Nothing is pulled: every image may be used.
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
        """Elapsed and CPU seconds of a preview, plugins included."""
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
        for name, enabled in VARIANTS.items():
            (copy := Path(folder, name)).mkdir()
            projects[name] = Project(copy, enabled)
        objects = {name: project.objects() for name, project in projects.items()}  # this also fills caches
        timings: dict[str, list[tuple[float, float]]] = {name: [] for name in projects}
        for _ in range(runs):
            for name, project in projects.items():
                timings[name].append(project.seconds())
    print(f"{runs} runs, load {os.getloadavg()[0]:.1f}: median (minimum), and the difference from off")
    for index, kind in enumerate(("elapsed", "CPU")):
        for name, pairs in timings.items():
            times, off = [pair[index] for pair in pairs], [pair[index] for pair in timings["off"]]
            median, minimum = statistics.median(times), min(times)
            difference = f"{median - statistics.median(off):+.2f} ({minimum - min(off):+.2f})"
            print(f"{kind:<9} {name:<7} {objects[name]:>3} objects  {median:6.2f} ({minimum:.2f}) s  {difference} s")


if __name__ == "__main__":
    main()
