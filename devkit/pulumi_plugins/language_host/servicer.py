"""The language runtime service that the engine calls."""

import base64
import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import grpc
import yaml
from google.protobuf import empty_pb2, json_format
from pulumi._version import _VERSION as SDK_VERSION
from pulumi.runtime.proto import LanguageRuntimeServicer, language_pb2, plugin_pb2

from . import probe
from .interpreters import activated, choose_python, environment_dir, environment_python
from .processes import Children, end
from .program import REPORTED

_HERE = Path(__file__).resolve().parent


def _options(info: Any) -> dict[str, object]:
    return dict(json_format.MessageToDict(info.options))


def _python(info: Any, *, is_plugin: bool = False) -> Path:
    return choose_python(Path(info.root_directory or "."), _options(info), is_plugin=is_plugin)


def query_probe(python: Path, what: str) -> Any:
    """The probe's output for the environment of `python`."""
    if python.parent == Path(sys.executable).parent:
        # The same environment: no need to start another interpreter for it.
        return {"plugins": probe.required_plugins, "dependencies": probe.dependencies}[what]()
    done = subprocess.run(
        [str(python), "-I", str(_HERE / "probe.py"), what], capture_output=True, text=True, check=True, timeout=60
    )
    return json.loads(done.stdout)


def installed(plugin: Mapping[str, Any]) -> bool:
    """Whether a resource plugin is in the plugin cache, or on the PATH."""
    home = Path(os.environ.get("PULUMI_HOME") or Path.home() / ".pulumi")
    cached = home / "plugins" / f"resource-{plugin['name']}-{plugin['version']}"
    return cached.exists() or shutil.which(f"pulumi-resource-{plugin['name']}") is not None


def distribution_name(directory: Path) -> str:
    """The name under which the plugin in `directory` is packaged: pyproject's, PulumiPlugin.yaml's, the folder's."""
    project = directory / "pyproject.toml"
    if project.exists():
        name = tomllib.loads(project.read_text(encoding="utf-8")).get("project", {}).get("name")
        if name:
            return str(name)
    plugin_file = directory / "PulumiPlugin.yaml"
    if plugin_file.exists():
        loaded = yaml.safe_load(plugin_file.read_text(encoding="utf-8")) or {}
        if isinstance(loaded, dict) and loaded.get("name"):
            return str(loaded["name"])
    return directory.name


def plugin_command(python: Path, request: Any) -> list[str]:
    """How to start the plugin or policy pack that a RunPlugin request asks for."""
    directory = Path(request.info.program_directory)
    if request.kind == "analyzer":
        # `pulumi.policy` takes the engine's address, then the pack's folder; options go last.
        options = [a for a in request.args if a.startswith("-")]
        address = [a for a in request.args if not a.startswith("-")][:1]
        return [str(python), "-u", "-m", "pulumi.policy", *address, str(directory), *options]
    if (directory / "__main__.py").exists():
        return [str(python), "-u", str(directory), *request.args]
    return [str(python), "-u", "-m", "pulumi.run.plugin", distribution_name(directory), *request.args]


class LanguageHost(LanguageRuntimeServicer):
    """Runs programs and plugins for one engine."""

    def __init__(self, engine_address: str, children: Children) -> None:
        self._engine_address = engine_address
        self._children = children

    def Handshake(self, request: Any, context: grpc.ServicerContext) -> Any:
        self._engine_address = request.engine_address or self._engine_address
        return language_pb2.LanguageHandshakeResponse()

    def GetPluginInfo(self, request: Any, context: grpc.ServicerContext) -> Any:
        return plugin_pb2.PluginInfo(version=SDK_VERSION)

    def About(self, request: Any, context: grpc.ServicerContext) -> Any:
        python = _python(request.info)
        done = subprocess.run(
            [str(python), "-I", str(_HERE / "probe.py"), "about"], capture_output=True, text=True, check=True
        )
        return language_pb2.AboutResponse(**json.loads(done.stdout))

    def GetProgramDependencies(self, request: Any, context: grpc.ServicerContext) -> Any:
        dependencies = [
            language_pb2.DependencyInfo(**entry) for entry in query_probe(_python(request.info), "dependencies")
        ]
        return language_pb2.GetProgramDependenciesResponse(dependencies=dependencies)

    def GetRequiredPlugins(self, request: Any, context: grpc.ServicerContext) -> Any:
        return language_pb2.GetRequiredPluginsResponse()

    def GetRequiredPackages(self, request: Any, context: grpc.ServicerContext) -> Any:
        is_plugin = Path(request.info.program_directory, "PulumiPlugin.yaml").exists()
        plugins = query_probe(_python(request.info, is_plugin=is_plugin), "plugins")
        if os.environ.get("PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION") == "true":
            # The engine may not download any: a plugin that is missing could only make it fail.
            plugins = [entry for entry in plugins if installed(entry)]
        return language_pb2.GetRequiredPackagesResponse(packages=[_package(entry) for entry in plugins])

    def RuntimeOptionsPrompts(self, request: Any, context: grpc.ServicerContext) -> Any:
        return language_pb2.RuntimeOptionsResponse()

    def Template(self, request: Any, context: grpc.ServicerContext) -> Any:
        return language_pb2.TemplateResponse()

    def Cancel(self, request: Any, context: grpc.ServicerContext) -> Any:
        self._children.end_all()
        return empty_pb2.Empty()

    def Run(self, request: Any, context: grpc.ServicerContext) -> Any:
        python = _python(request.info)
        directory = request.info.program_directory or request.pwd
        env = activated(os.environ, python)
        env["PULUMI_CONFIG"] = json.dumps(dict(request.config))
        env["PULUMI_CONFIG_SECRET_KEYS"] = json.dumps(list(request.configSecretKeys))
        command = [str(python), "-u", str(_HERE / "program.py"), *self._program_arguments(request)]
        try:
            code = self._children.run(command, cwd=directory, env=env)
        except OSError as error:
            return language_pb2.RunResponse(error=f"could not run {python}: {error}")
        if code == REPORTED:
            return language_pb2.RunResponse(bail=True)
        if code:
            return language_pb2.RunResponse(error=_exit_message(code))
        return language_pb2.RunResponse()

    def _program_arguments(self, request: Any) -> list[str]:
        named = {
            "monitor": request.monitor_address,
            "engine": self._engine_address,
            "project": request.project,
            "stack": request.stack,
            "organization": request.organization,
            "pwd": request.pwd,
            "parallel": str(request.parallel),
        }
        args = [f"--{name}={value}" for name, value in named.items() if value]
        args += ["--dry-run"] if request.dryRun else []
        entry = str(Path(request.info.program_directory, request.info.entry_point or "."))
        return [*args, "--", entry, *request.args]

    def RunPlugin(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        python = _python(request.info, is_plugin=True)
        env = activated(dict(entry.partition("=")[::2] for entry in request.env), python)
        command = plugin_command(python, request)
        running = self._children.stream(
            command,
            cwd=request.pwd or request.info.program_directory,
            env=env,
            # The engine ends a plugin by cancelling this call.
            on_start=lambda process: context.add_callback(lambda: end(process)),
        )
        for name, value in running:
            yield language_pb2.RunPluginResponse(**{name: value})

    def InstallDependencies(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        directory = Path(request.info.program_directory or request.directory)
        environment = environment_dir(
            Path(request.info.root_directory or directory), _options(request.info), is_plugin=request.is_plugin
        )
        python = Path(sys.executable)
        steps: list[list[str]] = []
        requirements = _requirements(directory, request.is_plugin)
        # A plugin without requirements gets no environment of its own: it would be an empty one.
        if environment is not None and (requirements or not request.is_plugin):
            if environment_python(environment) is None:
                steps.append([str(python), "-m", "venv", str(environment)])
            python = environment / "bin" / "python"
        steps += [[str(python), "-m", "pip", "install", *what] for what in requirements]
        for command in steps:
            for name, value in self._children.stream(command, cwd=str(directory), env=os.environ):
                if name == "exitcode" and value:
                    context.abort(grpc.StatusCode.UNKNOWN, f"`{' '.join(command)}` failed with exit code {value}")
                elif name != "exitcode":
                    yield language_pb2.InstallDependenciesResponse(**{name: value})


def _requirements(directory: Path, is_plugin: bool) -> list[list[str]]:
    """What pip is to install for the project in `directory`."""
    requirements = [["-r", "requirements.txt"]] if (directory / "requirements.txt").exists() else []
    packaged = (directory / "pyproject.toml").exists()
    if packaged and (is_plugin or not requirements):
        requirements.append(["-e", "."])
    return requirements


def _exit_message(code: int) -> str:
    if code < 0:
        return f"Program was ended by signal {-code}"
    return f"Program exited with non-zero exit code: {code}"


def _package(entry: dict[str, Any]) -> Any:
    package = plugin_pb2.PackageDependency(
        name=entry["name"], kind="resource", version=entry["version"], server=entry["server"]
    )
    if parameterization := entry.get("parameterization"):
        package.parameterization.name = parameterization["name"]
        package.parameterization.version = parameterization["version"]
        package.parameterization.value = base64.b64decode(parameterization["value"])
    return package
