"""`devkit up`, step by step: check, plan, build, start, deploy, ask."""

import json
import os
import sys
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from devkit import base_image, bootstrap, embedded, engine, environment, images, preflight, toolchain, versions
from devkit.clusters import Cluster, Embedded, remember
from devkit.deploy import Answer, Stack, ask
from devkit.engine import Found
from devkit.errors import DevkitError
from devkit.paths import cache_root, platform_facts, state_root
from devkit.steps import Report, Steps

_CLUSTER_GROUPS = ("containers", "kubernetes")


@dataclass(frozen=True)
class Request:
    """What to bring up."""

    cluster: Cluster
    deploy: str | None
    """A stack to deploy on the platform, or None for the platform alone."""


def bring_up(request: Request) -> None:
    """Brings the platform up and, when asked, a stack on it. Safe to run again at any time.

    Raises DevkitError, with everything that finished kept, when a step fails.
    """
    cluster = request.cluster
    steps = Steps(total=7 + 3 * cluster.needs_builds + 2 * (request.deploy is not None))
    missing = steps.run("check this machine", lambda report: _check(cluster, report))
    _print_plan(steps, cluster, missing)
    state_root().mkdir(parents=True, exist_ok=True, mode=0o700)
    remember(cluster)
    if cluster.needs_builds:
        steps.run("install Debian packages", embedded.install_packages)
    programs = _start_builds(steps, cluster)
    steps.run("install Python packages into .venv", bootstrap.ensure_virtualenv)
    found = steps.run("find the Pulumi engine", engine.find_engine)
    for name, build in programs.items():
        link_programs(name, build.result())
    pulumi = engine.install_engine(found)
    steps.run(f"start the {cluster.kind} cluster", cluster.start)
    variables = environment.complete(cluster)
    origins = steps.run("install Pulumi plugins", lambda report: engine.install_plugins(pulumi, variables, report))
    base = steps.run("make the base image", lambda report: _base_image(cluster, report))
    stack = Stack(request.deploy or "dev", variables)
    available = steps.run("check which images can be pulled", lambda report: _images(stack, cluster, base, report))
    _write_facts(cluster, base, available)
    _print_platform(steps, cluster, found, origins, available)
    if request.deploy is None:
        steps.say(f'The platform is up after {steps.total_elapsed()}. For a shell: eval "$(python3 -m devkit env)"')
        return
    stack.select()
    steps.run(f"pulumi up, stack {stack.name}", stack.up)
    outputs = stack.outputs()
    answer = steps.run("ask the service", lambda _: ask(str(outputs["predict_url"])))
    _print_answer(steps, outputs, answer)


def _check(cluster: Cluster, report: Report) -> list[str]:
    """Raises one DevkitError that lists every problem; returns the Debian packages that are missing."""
    problems = preflight.python_problems()
    missing: list[str] = []
    if isinstance(cluster, Embedded):
        warm = all(toolchain.is_built(toolchain.groups()[name]) for name in _CLUSTER_GROUPS)
        problems += preflight.embedded_problems(warm)
        if not problems:
            missing = preflight.missing_system_packages()
    else:
        warm = bootstrap.python().exists()
    if not problems and not warm:
        problems += preflight.registry_problems()
    if problems:
        raise DevkitError("this machine is not ready:\n" + "\n".join(f"  - {problem}" for problem in problems))
    return missing


def _print_plan(steps: Steps, cluster: Cluster, missing: list[str]) -> None:
    steps.say(f"      cluster: {cluster.kind}")
    if cluster.needs_builds:
        to_build = [name for name in _CLUSTER_GROUPS if not toolchain.is_built(toolchain.groups()[name])]
        steps.say(f"      to build from Go modules: {', '.join(to_build) or 'nothing, all cached'}")
        steps.say(f"      to install on the system with apt-get: {' '.join(missing) or 'nothing'}")
    steps.say(f"      caches in {cache_root()}, state in {state_root()}")


def _start_builds(steps: Steps, cluster: Cluster) -> "dict[str, Future[Path]]":
    """Starts what the embedded cluster needs built, one after the other beside the other steps."""
    builds: dict[str, Future[Path]] = {}
    if not cluster.needs_builds:
        return builds
    before: Future[Path] | None = None
    for name in _CLUSTER_GROUPS:
        group = toolchain.groups()[name]

        def action(report: Report, group: toolchain.Group = group, after: "Future[Path] | None" = before) -> Path:
            if after is not None:
                after.result()
            return toolchain.build(group, report)

        before = builds[name] = steps.start(f"build {name}{_version_note(name)}", action)
    return builds


def _version_note(group: str) -> str:
    return f" {versions.kubernetes()}" if group == "kubernetes" else ""


def link_programs(group: str, folder: Path) -> None:
    """Makes the programs of a built group available in the platform's bin folder."""
    engine.bin_folder().mkdir(parents=True, exist_ok=True)
    for name in toolchain.groups()[group].programs.values():
        link = engine.bin_folder() / name
        link.unlink(missing_ok=True)
        link.symlink_to(folder / name)


def _base_image(cluster: Cluster, report: Report) -> str | None:
    """The base for image builds: the configured one where it can be pulled, else one made here."""
    upstream = _configured_base()
    if not images.check([upstream]):
        report(f"{upstream} can be pulled")
        return None
    if not isinstance(cluster, Embedded):
        report(f"{upstream} can't be pulled from here; image builds may fail")
        return None
    return base_image.ensure_base_image(embedded.REGISTRY, report)


def _configured_base() -> str:
    return "docker.io/library/python:3.12-slim"


def _images(stack: Stack, cluster: Cluster, base: str | None, report: Report) -> images.Availability:
    builder = None
    if isinstance(cluster, Embedded) and base is not None:
        builder = images.Builder(engine.bin_folder() / "buildctl", embedded.buildkit_address(), embedded.REGISTRY, base)
    return images.resolve(stack.wanted_images(bootstrap.python()), builder, report)


def _write_facts(cluster: Cluster, base: str | None, available: images.Availability) -> None:
    facts = {
        "cluster": cluster.kind,
        **cluster.facts(),
        "base_image": base,
        "images": available.images,
        "unavailable": available.unavailable,
    }
    partial = platform_facts().with_suffix(".partial")
    partial.write_text(json.dumps(facts, indent=2))
    partial.replace(platform_facts())


def _print_platform(
    steps: Steps, cluster: Cluster, found: Found, origins: dict[str, str], available: images.Availability
) -> None:
    steps.say(f"      Pulumi {engine.engine_version(found.path)}: {found.origin}")
    for name, origin in origins.items():
        steps.say(f"      plugin {name} {versions.plugin(name)}: {origin}")
    for upstream in available.images:
        steps.say(f"      image {upstream}: can't be pulled, built here from Debian or Python packages")
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
