"""The Pulumi engine and its plugins: the best available on this machine.

For the engine and for each plugin the order is the same: what an environment variable names, what is installed here,
what the official installer can download, and finally what the devkit builds itself.
"""

import json
import os
import platform
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from devkit import toolchain, versions
from devkit.bootstrap import python
from devkit.errors import DevkitError
from devkit.files import replace_copy, replace_link, replace_text
from devkit.paths import cache_root, pulumi_home, state_root
from devkit.pulumi_plugins.install import LANGUAGE_HOST, fingerprint, install_language_host, write_kubernetes_plugin
from devkit.steps import Report

ENGINE_VARIABLE = "MODELOPS_PULUMI"
KUBERNETES_VARIABLE = "MODELOPS_PLUGIN_KUBERNETES"
_RELEASES = "https://get.pulumi.com/releases/sdk"
_ANSWER_TIMEOUT_SECONDS = 5
_DOWNLOAD_TIMEOUT_SECONDS = 600
_BUILT = "built from Go modules"
_STAND_IN = "stand-in (docs/reference/provider.md)"


@dataclass(frozen=True)
class Source:
    """A program or plugin, and in a few words where it comes from."""

    path: Path
    origin: str


def bin_folder() -> Path:
    """The folder of the platform's programs, first on the PATH that `devkit env` prints."""
    return state_root() / "bin"


def executable_from(variable: str) -> Path | None:
    """The executable that an environment variable names, or None when it is not set.

    Raises DevkitError when it is set to something that can't be run.
    """
    value = os.environ.get(variable)
    if not value:
        return None
    path = Path(value).expanduser().resolve()
    if not (path.is_file() and os.access(path, os.X_OK)):
        raise DevkitError(f"{variable} names {value}, which is not an executable file", "correct or unset it")
    return path


def is_suitable(pulumi: Path) -> bool:
    """Whether an engine can run this project: version 3, and not older than the SDK."""
    numbers = re.match(r"(\d+)\.(\d+)\.(\d+)", engine_version(pulumi))
    needed = tuple(int(number) for number in versions.pulumi().split("."))
    return numbers is not None and needed[0] == int(numbers[1]) and tuple(map(int, numbers.groups())) >= needed


def is_available() -> bool:
    """Whether there is an engine on this machine that `find_engine` would take."""
    if executable_from(ENGINE_VARIABLE) or toolchain.is_built(toolchain.groups()["pulumi"]):
        return True
    installed = _on_path("pulumi")
    return (installed is not None and is_suitable(installed)) or _downloaded_engine().exists()


def release_answers() -> bool:
    """Whether the official releases can be downloaded from here."""
    machine = "arm64" if platform.machine() in ("arm64", "aarch64") else "x64"
    release = f"{_RELEASES}/pulumi-v{versions.pulumi()}-{platform.system().lower()}-{machine}.tar.gz"
    try:
        request = urllib.request.Request(release, method="HEAD")
        urllib.request.urlopen(request, timeout=_ANSWER_TIMEOUT_SECONDS).close()
    except OSError:
        return False
    return True


def find_engine(report: Report) -> Source:
    """The `pulumi` executable to use; builds it if there is no other."""
    if named := executable_from(ENGINE_VARIABLE):
        return Source(named, f"from {ENGINE_VARIABLE}")
    if installed := _on_path("pulumi"):
        if is_suitable(installed):
            return Source(installed, "installed on this machine")
        report(f"the installed Pulumi {engine_version(installed)} is not used: {versions.pulumi()} or later is needed")
    group = toolchain.groups()["pulumi"]
    # An engine built earlier is used again without another attempt to download.
    if not toolchain.is_built(group):
        if downloaded := _download_engine(report):
            return Source(downloaded, "official release")
        report("the official release is out of reach, building from Go modules")
    return Source(toolchain.build(group, report) / "pulumi", _BUILT)


def install_engine(source: Source) -> Path:
    """Puts the engine into the platform's bin folder, with a Python language host beside it; returns its path.

    An engine with its own Python language host is linked and keeps it. Others get the devkit's.
    """
    folder = bin_folder()
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / "pulumi"
    if source.path.with_name(LANGUAGE_HOST).exists() or _on_path(LANGUAGE_HOST):
        (folder / LANGUAGE_HOST).unlink(missing_ok=True)
        replace_link(target, source.path)
        return target
    install_language_host(folder, python())
    # Not a symbolic link: the engine looks for language hosts beside the file that it was started from.
    replace_copy(target, source.path)
    return target


def install_plugins(pulumi: Path, environment: dict[str, str], report: Report) -> dict[str, str]:
    """Installs the resource plugins into the devkit's PULUMI_HOME; returns where each came from, by name."""
    named = executable_from(KUBERNETES_VARIABLE)
    kubernetes = Plugin(
        "kubernetes",
        Source(named, f"from {KUBERNETES_VARIABLE}") if named else _installed_plugin("kubernetes"),
        f"{fingerprint()} {python()}",
        _stand_in_kubernetes,
    )
    docker_build = Plugin(
        "docker-build",
        _installed_plugin("docker-build"),
        toolchain.identity(toolchain.groups()["docker-build"]),
        _built_docker_build,
    )
    return {plugin.name: _install(plugin, pulumi, environment, report) for plugin in (kubernetes, docker_build)}


def plugins_can_be_downloaded() -> bool:
    """False once a plugin had to be built here because its official release was out of reach."""
    records = [json.loads(record.read_text()) for record in pulumi_home().glob("*.json")]
    built = (_STAND_IN, _BUILT)
    return not any(record.get("origin") in built for record in records)


@dataclass(frozen=True)
class Plugin:
    """A resource plugin, and the ways to get it."""

    name: str
    local: Source | None
    """An executable that is already here."""
    built_identity: str
    """Identifies what `make` would build now."""
    make: Callable[[Report], Source]
    """The last resort when the official release is out of reach: builds a folder for `pulumi plugin install --file`."""


def _install(plugin: Plugin, pulumi: Path, environment: dict[str, str], report: Report) -> str:
    version = versions.plugin(plugin.name)
    record = pulumi_home() / f"{plugin.name}.json"
    installed = json.loads(record.read_text()) if record.exists() else {}
    if plugin.local:
        usable = installed == _record(plugin.local.origin, _file_identity(plugin.local.path))
    else:
        usable = installed.get("identity") in ("official", plugin.built_identity)
    if usable:
        report("cached")
        return str(installed["origin"])
    command = [str(pulumi), "plugin", "install", "resource", plugin.name, version, "--reinstall"]
    if plugin.local:
        _require_success(
            [*command, "--file", str(_as_folder(plugin.local.path, plugin.name))], environment, plugin.name
        )
        now = _record(plugin.local.origin, _file_identity(plugin.local.path))
    elif _succeeds(command, environment):
        now = _record("official release", "official")
    else:
        report(f"the official release of the {plugin.name} plugin is out of reach")
        built = plugin.make(report)
        _require_success([*command, "--file", str(built.path)], environment, plugin.name)
        now = _record(built.origin, plugin.built_identity)
    replace_text(record, json.dumps(now))
    return now["origin"]


def _record(origin: str, identity: str) -> dict[str, str]:
    return {"origin": origin, "identity": identity}


def _file_identity(path: Path) -> str:
    stat = path.stat()
    return f"{path}:{stat.st_size}:{stat.st_mtime_ns}"


def _installed_plugin(name: str) -> Source | None:
    """The plugin on the PATH or in the user's plugin cache, which is only read."""
    executable = f"pulumi-resource-{name}"
    if on_path := _on_path(executable):
        return Source(on_path, "installed on this machine")
    users = Path.home() / ".pulumi" / "plugins" / f"resource-{name}-v{versions.plugin(name)}" / executable
    return Source(users, "installed on this machine") if users.is_file() else None


def _stand_in_kubernetes(report: Report) -> Source:
    folder = cache_root() / "plugins" / "kubernetes"
    write_kubernetes_plugin(folder, python())
    return Source(folder, _STAND_IN)


def _built_docker_build(report: Report) -> Source:
    return Source(toolchain.build(toolchain.groups()["docker-build"], report), _BUILT)


def _as_folder(executable: Path, name: str) -> Path:
    """A folder holding just `executable` under the plugin's own name, as `pulumi plugin install --file` expects it."""
    folder = cache_root() / "plugins" / f"given-{name}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copy2(executable, folder / f"pulumi-resource-{name}")
    return folder


def _download_engine(report: Report) -> Path | None:
    """The official release, by the SDK's own installer; None when it is out of reach."""
    executable = _downloaded_engine()
    root = executable.parent.parent
    if executable.exists():
        report("cached")
        return executable
    report("trying the official release")
    program = (
        "import sys, semver; from pulumi.automation import PulumiCommand; "
        "PulumiCommand.install(root=sys.argv[1], version=semver.VersionInfo.parse(sys.argv[2]))"
    )
    done = _succeeds([str(python()), "-c", program, str(root), versions.pulumi()], dict(os.environ))
    return executable if done and executable.exists() else None


def _downloaded_engine() -> Path:
    return cache_root() / f"pulumi-official-{versions.pulumi()}" / "bin" / "pulumi"


def _on_path(name: str) -> Path | None:
    """An executable on the PATH that is not the devkit's own."""
    devkit = {str(bin_folder())}
    path = os.pathsep.join(p for p in os.environ.get("PATH", "").split(os.pathsep) if p not in devkit)
    executable = shutil.which(name, path=path)
    return Path(executable).resolve() if executable else None


def engine_version(pulumi: Path) -> str:
    """What `pulumi version` prints, without the leading v. Raises DevkitError when it can't be run."""
    environment = os.environ | {"PULUMI_HOME": str(pulumi_home()), "PULUMI_SKIP_UPDATE_CHECK": "true"}
    command = [str(pulumi), "version"]
    try:
        text = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise DevkitError(
            f"{pulumi} can't be run: {error}", "reinstall it or unset the variable that names it"
        ) from error
    match = re.search(r"\d+\.\d+\.\d+\S*", text)
    return match.group(0) if match else text.strip()


def _succeeds(command: list[str], environment: dict[str, str]) -> bool:
    try:
        done = subprocess.run(command, env=environment, capture_output=True, timeout=_DOWNLOAD_TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def _require_success(command: list[str], environment: dict[str, str], name: str) -> None:
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise DevkitError(f"installing the Pulumi plugin {name} failed: {done.stderr.strip()[-600:]}")
