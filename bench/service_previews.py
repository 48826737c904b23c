"""How long `pulumi preview` of many ModelServices takes, beside a plain program with the same objects.

    eval "$(python3 -m devkit env)" && .venv/bin/python -m bench.service_previews [--rounds 10] [--counts 1 10 50 200]

Both programs are previewed in turns, each the first time in a stack of its own: everything would be created, and
nothing is. The plain program has the objects that the components make, by their classes in pulumi_kubernetes.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

from bench.figures import in_turns
from bench.services import COMPONENTS, PLAIN, Project, machine, rendered
from bench.trainings import namespace_without_pods

RESULTS = Path(__file__).parent / "results" / "service_previews.json"
COUNTS = (1, 10, 50, 200)


def projects(folder: Path, count: int, namespace: str) -> tuple[Project, Project]:
    """The components' program, and the plain one."""
    ours = Project(folder / f"components-{count}", COMPONENTS.format(count=count, namespace=namespace, at_rest=False))
    objects = folder / f"objects-{count}.json"
    objects.write_text(json.dumps(rendered(count, namespace)))
    plain = Project(folder / f"plain-{count}", PLAIN.format(objects=str(objects)))
    # This also fills caches.
    created, without_components = ours.creations(), plain.creations()
    if created != without_components + count:
        raise SystemExit(f"{created} resources of {count} components, {without_components} of the plain program")
    return ours, plain


def seconds(project: Project) -> float:
    """How long a preview takes."""
    started = time.perf_counter()
    project.pulumi("preview")
    return time.perf_counter() - started


def measured(count: int, rounds: int, folder: Path, namespace: str) -> dict[str, list[float]]:
    """Seconds of both, by round."""
    found: dict[str, list[float]] = {"ours": [], "plain": []}
    both = dict(zip(found, projects(folder, count, namespace), strict=True))
    for number in range(rounds):
        for name in list(both)[:: 1 if number % 2 else -1]:
            found[name].append(round(seconds(both[name]), 3))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--counts", type=int, nargs="+", default=COUNTS)
    options = parser.parse_args()
    before, by_count = machine(), {}
    with namespace_without_pods() as namespace, tempfile.TemporaryDirectory() as folder:
        for count in options.counts:
            found = by_count[str(count)] = measured(count, options.rounds, Path(folder), namespace)
            print(f"{count}: {in_turns(found['ours'], found['plain'], 's', '')}", flush=True)
    RESULTS.write_text(json.dumps({"machine": before, "seconds": by_count}, indent=2) + "\n")


if __name__ == "__main__":
    main()
