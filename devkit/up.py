"""`devkit up`, step by step: check, plan, build, start, deploy, test."""

import json
import os
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from devkit import backend, base_image, bootstrap, embedded, engine, environment, images, preflight, toolchain, versions
from devkit.clusters import Cluster, Embedded, remember
from devkit.deploy import Answer, Stack, send_sample
from devkit.engine import Source
from devkit.errors import DevkitError
from devkit.files import replace_link, replace_text
from devkit.paths import cache_root, platform_facts, state_root
from devkit.steps import Report, Steps

_UPSTREAM_BASE = "docker.io/library/python:3.12-slim"


@dataclass(frozen=True)
class Request:
    """What to bring up."""

    cluster: Cluster
    deploy: str | None
    """A stack to deploy on the platform, or None for the platform alone."""


def bring_up(request: Request) -> None:
    """Brings the platform up and, on request, a stack on it. Safe to run again at any time.

    Raises DevkitError when a step fails; everything that finished is kept.
    """
    cluster = request.cluster
    groups_to_build = _required_builds(cluster)
    steps = Steps(total=7 + cluster.needs_builds + len(groups_to_build) + 2 * (request.deploy is not None))
    machine = steps.run("check this machine", lambda _: _check(cluster))
    _print_plan(steps, cluster, groups_to_build, machine)
    state_root().mkdir(parents=True, exist_ok=True, mode=0o700)
    remember(cluster)
    states = backend.of(cluster)
    states.prepare()
    if cluster.needs_builds:
        steps.run("install Debian packages", embedded.install_packages)
    builds = Builds(steps)
    for name in groups_to_build:
        builds.start(name)
    steps.run("install Python packages into .venv", bootstrap.ensure_virtualenv)
    source = steps.run("find the Pulumi engine", engine.find_engine)
    if cluster.needs_builds:
        for name in preflight.CLUSTER_GROUPS:
            link_programs(name, builds.folder(name))
    pulumi = engine.install_engine(source)
    steps.run(f"start the {cluster.kind} cluster", cluster.start)
    variables = environment.complete(cluster)
    origins = steps.run("install Pulumi plugins", lambda report: engine.install_plugins(pulumi, variables, report))
    base = steps.run("build the base image", lambda report: _base_image(cluster, report))
    stack = Stack(request.deploy or "dev", variables)
    available = steps.run(
        "check which images can be pulled", lambda report: _images(stack, cluster, base, builds, report)
    )
    _write_facts(cluster, base, available)
    _print_platform(steps, cluster, source, origins, available)
    if request.deploy is None:
        steps.say(f'The platform is up after {steps.total_elapsed()}. For a shell: eval "$(python3 -m devkit env)"')
        return
    remember(cluster, stack.name)
    if not states.ends_with_cluster and backend.take_over(stack.name, variables):
        steps.say(
            f"      stacks/Pulumi.{stack.name}.yaml: encrypted anew, with your passphrase instead of the public one"
        )
    stack.select()
    steps.run(f"pulumi up, stack {stack.name}", lambda _: stack.up(steps.say))
    outputs = stack.outputs()
    answer = steps.run("send a test prediction", lambda _: send_sample(str(outputs["predict_url"])))
    _print_answer(steps, outputs, answer)


def _check(cluster: Cluster) -> preflight.Machine:
    """Raises one DevkitError that lists every problem."""
    machine = preflight.check(cluster)
    if machine.problems:
        lines = "".join(f"\n  - {problem}" for problem in machine.problems)
        raise DevkitError(f"this machine is not ready (needed: {machine.needs}):{lines}")
    return machine


def _required_builds(cluster: Cluster) -> list[str]:
    """The groups that will be built for the cluster, in the order in which they are needed."""
    if not cluster.needs_builds:
        return []
    # Substitutes for upstream images are needed only where no image registry is within reach.
    return [
        *preflight.CLUSTER_GROUPS,
        *(["prometheus", "kube-state-metrics"] if images.check([_UPSTREAM_BASE]) else []),
    ]


def _print_plan(steps: Steps, cluster: Cluster, groups_to_build: list[str], machine: preflight.Machine) -> None:
    steps.say(f"      cluster: {cluster.kind}")
    steps.say(f"      takes {machine.needs}")
    if cluster.needs_builds:
        to_build = [name for name in groups_to_build if not toolchain.is_built(toolchain.groups()[name])]
        steps.say(f"      to build from Go modules: {', '.join(to_build) or 'nothing, all cached'}")
        steps.say(f"      to install on the system with apt-get: {' '.join(machine.missing_packages) or 'nothing'}")
    steps.say(f"      caches in {cache_root()}, state in {state_root()}")
    steps.say(f"      stacks in {backend.of(cluster).description()}")


class Builds:
    """Go builds in the background, one at a time: each of them uses every core."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self._queue = ThreadPoolExecutor(max_workers=1, thread_name_prefix="build")
        self._started: dict[str, Future[Path]] = {}

    def start(self, name: str) -> None:
        """Queues a group."""
        group = toolchain.groups()[name]
        version = f" {versions.kubernetes()}" if name == "kubernetes" else ""
        build = partial(toolchain.build, group)
        self._started[name] = self._queue.submit(self._steps.run, f"build {name}{version}", build)

    def folder(self, name: str) -> Path:
        """The folder of a group's programs, once it is built."""
        if name not in self._started:
            self.start(name)
        return self._started[name].result()


def link_programs(group: str, folder: Path) -> None:
    """Makes the programs of a built group available in the platform's bin folder."""
    engine.bin_folder().mkdir(parents=True, exist_ok=True)
    for name in toolchain.groups()[group].programs.values():
        replace_link(engine.bin_folder() / name, folder / name)


def _base_image(cluster: Cluster, report: Report) -> str | None:
    """The base for image builds: the configured one where it can be pulled, else one built here."""
    if not images.check([_UPSTREAM_BASE]):
        report(f"{_UPSTREAM_BASE} can be pulled")
        return None
    if not isinstance(cluster, Embedded):
        report(f"{_UPSTREAM_BASE} can't be pulled from here; image builds may fail")
        return None
    return base_image.ensure_base_image(embedded.REGISTRY, report)


def _images(stack: Stack, cluster: Cluster, base: str | None, builds: Builds, report: Report) -> images.Availability:
    builder = None
    if isinstance(cluster, Embedded) and base is not None:
        builder = images.Builder(
            engine.bin_folder() / "buildctl",
            embedded.buildkit_address(),
            embedded.REGISTRY,
            base,
            programs=builds.folder,
        )
    return images.resolve(stack.required_images(bootstrap.python()), builder, report)


def _write_facts(cluster: Cluster, base: str | None, available: images.Availability) -> None:
    facts = {
        "cluster": cluster.kind,
        **cluster.facts(),
        "base_image": base,
        "images": available.images,
        "unavailable": available.unavailable,
    }
    replace_text(platform_facts(), json.dumps(facts, indent=2), mode=0o644)


def _print_platform(
    steps: Steps, cluster: Cluster, source: Source, origins: dict[str, str], available: images.Availability
) -> None:
    steps.say(f"      Pulumi {engine.engine_version(source.path)}: {source.origin}")
    for name, origin in origins.items():
        steps.say(f"      plugin {name} {versions.plugin(name)}: {origin}")
    for upstream in available.images:
        steps.say(f"      image {upstream}: can't be pulled, built here from the same program's package")
    for upstream, reason in available.unavailable.items():
        steps.say(f"      image {upstream}: can't be pulled ({reason}); the part that needs it is off for this run")


def _print_answer(steps: Steps, outputs: dict[str, object], answer: Answer) -> None:
    steps.say("")
    for name, value in sorted(outputs.items()):
        steps.say(f"  {name:<16} {value}")
    steps.say(f"\n  {answer.curl}\n  {answer.body}\n")
    steps.say(f'Up after {steps.total_elapsed()}. For a shell: eval "$({_python()} -m devkit env)"')


def _python() -> str:
    return os.environ.get("PYTHON") or Path(sys.executable).name
