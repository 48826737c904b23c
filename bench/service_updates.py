"""What the first `up` of many ModelServices costs, and one that changes nothing, beside tools that take manifests.

    eval "$(python3 -m devkit env)" && .venv/bin/python -m bench.service_updates [--rounds 10] [--count 50]

Each round makes the same objects in namespaces of their own: by `pulumi up`, by `kubectl apply --server-side`, and by
`helm install` of a chart of the same manifests where Helm is on the PATH. None starts a pod, and nobody waits for any.
Then `pulumi up` runs once more, and `kubectl diff`, with nothing to do. It is all deleted before the next measurement.
"""

import argparse
import json
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from bench.services import COMPONENTS, Project, machine, manifests, rendered
from tests.cluster.support import kubectl

RESULTS = Path(__file__).parent / "results" / "service_updates.json"
PLACE = "namespace-of-the-round"
UP = ("up", "--yes", "--skip-preview")  # the other tools have no preview either


@contextmanager
def namespace() -> Iterator[str]:
    """A namespace, which is gone afterwards."""
    name = f"bench-{uuid.uuid4().hex[:8]}"
    kubectl("create", "namespace", name)
    try:
        yield name
    finally:
        kubectl("delete", "namespace", name, "--timeout=600s")


def seconds(does: Callable[[], object]) -> float:
    """How long something takes."""
    started = time.perf_counter()
    does()
    return round(time.perf_counter() - started, 3)


def written(text: str, folder: Path, place: str) -> Path:
    """The file of all manifests in a namespace, in a chart's folder of templates."""
    file = folder / place / "templates" / "services.json"
    file.parent.mkdir(parents=True)
    file.write_text(text.replace(PLACE, place))
    chart = {"apiVersion": "v2", "name": "services", "version": "1.0.0"}
    (folder / place / "Chart.yaml").write_text(yaml.safe_dump(chart))
    return file


def chart_text(text: str) -> str:
    """Manifests as a chart's template: braces in them are text."""
    return text.replace("{{", '{{ "{{" }}')


def by_pulumi(count: int, folder: Path, place: str) -> dict[str, float]:
    """The first `up`, and the one after it."""
    project = Project(folder / "project", COMPONENTS.format(count=count, namespace=place, at_rest=True))
    return {"up": seconds(lambda: project.pulumi(*UP)), "unchanged up": seconds(lambda: project.pulumi(*UP))}


def by_kubectl(text: str, folder: Path, place: str) -> dict[str, float]:
    """`apply`, and a `diff` after it."""
    file = str(written(text, folder, place))
    options = ("--server-side", "--filename", file)
    return {"apply": seconds(lambda: kubectl("apply", *options)), "diff": seconds(lambda: kubectl("diff", *options))}


def by_helm(text: str, folder: Path, place: str) -> dict[str, float]:
    """`install` of a chart."""
    chart = written(chart_text(text), folder, place).parents[1]
    command = ["helm", "install", "services", str(chart), "--namespace", place]
    return {"helm": seconds(lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL))}


def measured(rounds: int, count: int) -> dict[str, list[float]]:
    """Seconds of each tool, by round."""
    text = "\n---\n".join(json.dumps(each) for each in manifests(rendered(count, PLACE, at_rest=True)))
    tools: Mapping[str, Callable[[Path, str], dict[str, float]]] = {
        "pulumi": lambda folder, place: by_pulumi(count, folder, place),
        "kubectl": lambda folder, place: by_kubectl(text, folder, place),
        "helm": lambda folder, place: by_helm(text, folder, place),
    }
    there = [name for name in tools if shutil.which(name)]
    found: dict[str, list[float]] = {}
    for number in range(rounds):
        for name in there[:: 1 if number % 2 else -1]:
            with namespace() as place, tempfile.TemporaryDirectory() as folder:
                made = tools[name](Path(folder), place)
            print(f"round {number + 1}: {made}", flush=True)
            for what, took in made.items():
                found.setdefault(what, []).append(took)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--count", type=int, default=50)
    options = parser.parse_args()
    found: dict[str, Any] = {"machine": machine(), "services": options.count}
    RESULTS.write_text(json.dumps({**found, "seconds": measured(options.rounds, options.count)}, indent=2) + "\n")


if __name__ == "__main__":
    main()
