"""The program of the pods, `modelops_runtime`, brought by a ConfigMap into any image with Python 3.11 or newer.

Publishing, fetching and promoting thus work beside every image that trains or serves, in the library's own version.
"""

from __future__ import annotations

import ast
import base64
import io
import zipfile
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from itertools import accumulate
from pathlib import Path
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from modelops.core.outputs import merged, short_hash
from modelops.kubernetes.pods import core, from_config_map, mount
from modelops.kubernetes.shared import once_in_namespace

PACKAGE = "modelops_runtime"
VOLUME = "runtime"
FOLDER = "/opt/modelops"
_ARCHIVE = f"{PACKAGE}.zip"
_CONTENT = "modelops.dev/content"
_CHECKOUT = Path(__file__).resolve().parents[3] / "model"
_INSTALLED = Path(__file__).resolve().parent / "assets" / "runtime"
"""Where setup.py copies the package, so that the library's wheel has it."""

VARIABLES: Mapping[str, pulumi.Input[str]] = {"PYTHONPATH": f"{FOLDER}/{_ARCHIVE}"}
"""Environment of a container that runs the program."""


def runtime_command(command: str, *arguments: str) -> list[str]:
    """Runs one of the program's commands, such as `fetch`. The image's own copy, if it has one, is left aside."""
    return ["python3", "-P", "-m", PACKAGE, command, *arguments]


def runtime_mount() -> core.VolumeMountArgs:
    """The mount of the program in a container."""
    return mount(VOLUME, FOLDER, read_only=True)


def file_mount(file: str = _ARCHIVE) -> core.VolumeMountArgs:
    """The mount of one file, which stays as it is while the container runs, whatever becomes of the ConfigMap."""
    return mount(VOLUME, f"{FOLDER}/{file}", read_only=True, sub_path=file)


def runtime_volume(
    name: str,
    namespace: pulumi.Input[str],
    labels: Mapping[str, pulumi.Input[str]],
    commands: tuple[str, ...],
    opts: pulumi.ResourceOptions,
) -> core.VolumeArgs:
    """The volume with the program, as far as `commands` need it, and its ConfigMap `<name>-runtime-<hash>`.

    Another version of the program is another ConfigMap, so pods roll out.
    """
    files = runtime_files(*commands)
    metadata = k8s.meta.v1.ObjectMetaArgs(name=f"{name}-runtime-{_hash(files)}", namespace=namespace, labels=labels)
    return from_config_map(VOLUME, _config_map(name, metadata, commands, opts, immutable=True))


def lasting_runtime(
    component: str,
    account: core.ServiceAccount,
    namespace: pulumi.Input[str],
    commands: tuple[str, ...],
    scripts: Mapping[str, str],
    opts: pulumi.ResourceOptions,
) -> tuple[pulumi.Input[pulumi.Resource], core.VolumeArgs]:
    """The program and shell scripts under a name that lasts, for Jobs: another version of the library replaces the
    ConfigMap, and the Jobs stay. `account` is one of the resources that the component has made.

    The volume names the ConfigMap without referring to its output, or the Jobs would be replaced with it. So they have
    to wait for it by `depends_on`.

    All components of a program with the same commands share one in each namespace.
    """

    def make(name: str, metadata: k8s.meta.v1.ObjectMetaArgs, own: pulumi.ResourceOptions) -> pulumi.Resource:
        return _lasting(name, metadata, commands, scripts, own)

    config_map, made = once_in_namespace(
        account.pulumi_resource_name, component, "runtime", commands, namespace, account, opts, make
    )
    return made, _volume_of(config_map)


def _volume_of(config_map: str) -> core.VolumeArgs:
    return core.VolumeArgs(name=VOLUME, config_map=core.ConfigMapVolumeSourceArgs(name=config_map))


def _lasting(
    name: str,
    metadata: k8s.meta.v1.ObjectMetaArgs,
    commands: tuple[str, ...],
    scripts: Mapping[str, str],
    opts: pulumi.ResourceOptions,
) -> core.ConfigMap:
    metadata.annotations = {_CONTENT: _hash({**runtime_files(*commands), **scripts})}
    replaced = merged(opts, replace_on_changes=[f'metadata.annotations["{_CONTENT}"]', "data"])
    return _config_map(name, metadata, commands, replaced, data=scripts)


def _config_map(
    name: str,
    metadata: k8s.meta.v1.ObjectMetaArgs,
    commands: tuple[str, ...],
    opts: pulumi.ResourceOptions,
    **fields: Any,
) -> core.ConfigMap:
    """Its metadata has a hash of the files, because compressed bytes differ from one zlib to another."""
    archive, opts = {_ARCHIVE: _zipped(commands)}, merged(opts, ignore_changes=["binaryData"])
    return core.ConfigMap(f"{name}-runtime", metadata=metadata, binary_data=archive, opts=opts, **fields)


@cache
def runtime_files(*commands: str) -> dict[str, str]:
    """The modules that the commands import, directly or not: path → source. A command is a module of `registry`, or one
    of another folder with that in its name.

    Raises ModuleNotFoundError if this library was installed without them.
    """
    root = _sources()
    files: dict[str, str] = {}
    modules = [f"{PACKAGE}.__main__", f"{PACKAGE}.registry"]
    for command in commands:
        module = command if "." in command else f"registry.{command}"
        modules += accumulate([PACKAGE, *module.split(".")], "{}.{}".format)
    while modules:
        file = _file_of(root, modules.pop())
        if file is None or (path := file.relative_to(root).as_posix()) in files:
            continue
        files[path] = file.read_text(encoding="utf-8")
        if path != f"{PACKAGE}/__init__.py":  # what it offers to training programs, no command needs
            modules += _imported(ast.parse(files[path]))
    return dict(sorted(files.items()))


def _sources() -> Path:
    """The folder with the package: a checkout's own, the one that the wheel brought, or an installed one."""
    places = [_CHECKOUT, _INSTALLED]
    if (spec := find_spec(PACKAGE)) and spec.submodule_search_locations:
        places.append(Path(spec.submodule_search_locations[0]).parent)
    for place in places:
        if (place / PACKAGE).is_dir():
            return place
    raise ModuleNotFoundError(
        f"modelops runs {PACKAGE} in its pods, and it was installed without: install modelops-runtime beside it, or "
        "modelops-pulumi from its wheel or a whole checkout"
    )


def runtime_folder() -> Path:
    """The folder that has the whole package in it, the server too. Raises ModuleNotFoundError if there is none."""
    return _sources()


def _file_of(root: Path, module: str) -> Path | None:
    """The file of a module or package; None for a name that is neither."""
    base = root / module.replace(".", "/")
    return next((file for file in (base / "__init__.py", base.with_suffix(".py")) if file.is_file()), None)


def _imported(source: ast.Module) -> list[str]:
    """The names in the package that a module imports, wherever it does, with the packages that they are in."""
    names: list[str] = []
    for node in ast.walk(source):
        if isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    parts = [name.split(".") for name in names if name.partition(".")[0] == PACKAGE]
    return [".".join(words[:length]) for words in parts for length in range(1, len(words) + 1)]


def _hash(files: Mapping[str, str]) -> str:
    return short_hash(*(part for path, text in files.items() for part in (path, text)))


@cache
def _zipped(commands: tuple[str, ...]) -> str:
    """The modules of the commands as a zip archive in base64."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path, text in runtime_files(*commands).items():
            archive.writestr(zipfile.ZipInfo(path), text, zipfile.ZIP_DEFLATED, 9)
    return base64.b64encode(buffer.getvalue()).decode()
