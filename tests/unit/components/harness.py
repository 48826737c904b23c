"""Runs a Pulumi program against mocks and keeps what it asked for."""

import asyncio
import hashlib
import json
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import pulumi
import pulumi_kubernetes as k8s
from pulumi.runtime import mocks, rpc

DIGEST = "sha256:" + "a" * 64
SHARED = ("training-job-runtime-", "training-job-closed-", "job-watch-")
"""How names of objects begin that the components of a namespace have in common."""
IMAGE = f"registry.example.com/team/model@{DIGEST}"


@dataclass(frozen=True)
class Resource:
    """A resource that the program registered, with its inputs as the engine gets them."""

    type: str
    name: str
    inputs: Mapping[str, Any]
    provider: str
    options: Mapping[str, Any]

    @property
    def is_watch(self) -> bool:
        """Whether it belongs to the watch of a Job's start (kubernetes/start_watch.py)."""
        labels = self.inputs["metadata"].get("labels", {}) if "metadata" in self.inputs else {}
        return labels.get("app.kubernetes.io/component") == "job-watch" or self.name.startswith("job-watch-")

    @property
    def is_kubernetes(self) -> bool:
        return self.type.startswith("kubernetes:")


@dataclass(frozen=True)
class OutputValue:
    """An output after the program ended."""

    value: Any
    known: bool
    secret: bool
    depends_on: frozenset[str]
    """Names of the resources that it waits for."""


@dataclass
class Program(pulumi.runtime.Mocks):
    """The resources and outputs of one run."""

    resources: list[Resource] = field(default_factory=list)
    outputs: dict[str, OutputValue] = field(default_factory=dict)
    digest: str | None = DIGEST
    load_balancer: str | None = "127.0.0.2"
    records: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Data of the ConfigMaps that the program reads, by resource name."""
    content_names: bool = False
    """Whether names that the provider makes up differ with the object's data, as new objects' names do."""
    stacks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Outputs of other stacks, by their full name."""
    registering: threading.local = field(default_factory=threading.local)
    """`options` of the resource that this thread registers; Pulumi's mocks don't hand them over."""

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str | None, dict[Any, Any]]:
        if args.typ == "pulumi:pulumi:StackReference":
            return args.resource_id, {**args.inputs, "outputs": dict(self.stacks[args.inputs["name"]])}
        if args.resource_id:  # read, not created
            data = self.records.get(args.name)
            return args.resource_id, {**args.inputs, **({} if data is None else {"data": dict(data)})}
        self.resources.append(
            Resource(args.typ, args.name, _plain(args.inputs), args.provider or "", self.registering.options)
        )
        return f"{args.name}-id", self._outputs(args)

    def call(self, args: pulumi.runtime.MockCallArgs) -> tuple[dict[Any, Any], list[tuple[str, str]] | None]:
        return {}, None

    def _outputs(self, args: pulumi.runtime.MockResourceArgs) -> dict[str, Any]:
        outputs = dict(args.inputs)
        if args.typ == "docker-build:index:Image" and self.digest is not None:
            outputs["digest"] = self.digest
        if args.typ == "docker:index/image:Image":
            outputs["repoDigest"] = f"registry.example.com/team/model@{DIGEST}"
        if "metadata" in outputs and "name" not in outputs["metadata"]:
            suffix = "1a2b3c4d"
            if self.content_names:
                content = json.dumps([args.inputs.get("data"), args.inputs.get("stringData")], sort_keys=True)
                suffix = hashlib.sha256(content.encode()).hexdigest()[:8]
            outputs["metadata"] = {**outputs["metadata"], "name": f"{args.name}-{suffix}"}
        if args.typ.endswith(":JobSet"):
            outputs["status"] = {"terminalState": "Completed"}
        if args.typ == "kubernetes:core/v1:Service" and self.load_balancer:
            outputs["status"] = {"loadBalancer": {"ingress": [{"ip": self.load_balancer}]}}
            ports = [{**port, "nodePort": 30080} for port in args.inputs["spec"].get("ports", [])]
            outputs["spec"] = {**args.inputs["spec"], "ports": ports}
        return outputs

    def of(self, type_suffix: str) -> list[Resource]:
        """Resources whose type ends so: `Deployment`, `core/v1:Service`."""
        return [found for found in self.resources if found.type.endswith((f":{type_suffix}", f"/{type_suffix}"))]

    def one(self, type_suffix: str, name: str | None = None) -> Resource:
        """The only resource of a type and name. Without a name, what belongs to the watch of a Job's start doesn't
        count."""
        found = [each for each in self.of(type_suffix) if each.name == name or (name is None and not each.is_watch)]
        assert len(found) == 1, [f"{resource.type} {resource.name}" for resource in self.resources]
        return found[0]


class _Monitor(mocks.MockMonitor):
    def RegisterResource(self, request: Any) -> Any:
        program: Any = self.mocks
        program.registering.options = {
            "replace_on_changes": list(request.replaceOnChanges),
            "ignore_changes": list(request.ignoreChanges),
            "create_timeout": request.customTimeouts.create,
            "dependencies": [urn.rpartition("::")[2] for urn in request.dependencies],
            "protect": request.protect,
            "retain_on_delete": request.retainOnDelete,
            "delete_before_replace": request.deleteBeforeReplace,
            "parent": request.parent,
        }
        return super().RegisterResource(request)  # type: ignore[no-untyped-call]


def _plain(value: Any) -> Any:
    """Secrets as Secret, everything else as it is."""
    if isinstance(value, Mapping):
        if rpc._special_sig_key in value:
            return Secret(value["value"])
        return {key: _plain(entry) for key, entry in value.items()}
    return [_plain(entry) for entry in value] if isinstance(value, list) else value


@dataclass(frozen=True)
class Secret:
    """An input that the engine would keep encrypted."""

    value: Any


def run(
    build: Callable[[], Any],
    *,
    preview: bool = False,
    digest: str | None = DIGEST,
    load_balancer: str | None = "127.0.0.2",
    records: Mapping[str, Mapping[str, str]] | None = None,
    content_names: bool = False,
    stacks: Mapping[str, Mapping[str, Any]] | None = None,
) -> Program:
    """Runs `build`; the Outputs among the attributes of what it returns (or of a mapping) end up in `outputs`."""
    program = Program(
        digest=digest,
        load_balancer=load_balancer,
        records=records or {},
        content_names=content_names,
        stacks=stacks or {},
    )
    return execute(program, build, preview=preview)


def execute(program: Program, build: Callable[[], Any], *, preview: bool = False) -> Program:
    """`run` with a program of one's own, which keeps what was registered before `build` failed."""
    pulumi.runtime.set_mocks(program, project="modelops", stack="test", preview=preview, monitor=_Monitor(program))

    @pulumi.runtime.test  # type: ignore[untyped-decorator]
    def start() -> Any:
        built = build()
        values = built if isinstance(built, Mapping) else vars(built) if built is not None else {}
        outputs = {key: value for key, value in values.items() if isinstance(value, pulumi.Output) and key != "urn"}

        async def look() -> None:
            for key, output in outputs.items():
                known = await output.is_known()
                resources = frozenset({resource._name for resource in await output.resources()})
                value = await output.future() if known else None
                program.outputs[key] = OutputValue(value, known, await output.is_secret(), resources)

        return pulumi.Output.from_input(asyncio.ensure_future(look()))

    # Pulumi sends each new resource's call stack, pytest's frames included: a tenth of the time, and no test reads it.
    with patch.object(sys, "tracebacklimit", 1, create=True):
        start()
    return program


def provider() -> k8s.Provider:
    """An explicit provider; what ignores it lands in no cluster at all."""
    return k8s.Provider("given")


def on(given: pulumi.ProviderResource) -> pulumi.ResourceOptions:
    return pulumi.ResourceOptions(provider=given)


def ignored_provider(program: Program) -> list[str]:
    """Kubernetes objects that were not created with the provider of `provider()`."""
    return [
        f"{found.type} {found.name}"
        for found in program.resources
        if found.is_kubernetes and "::given::" not in found.provider
    ]


def pod(resource: Resource) -> dict[str, Any]:
    """The pod of a Deployment, DaemonSet or Job."""
    return dict(resource.inputs["spec"]["template"]["spec"])


def container(resource: Resource, name: str) -> dict[str, Any]:
    """One container, init containers included."""
    spec = pod(resource)
    found = [each for each in [*spec.get("initContainers", []), *spec["containers"]] if each["name"] == name]
    assert len(found) == 1
    return dict(found[0])


def environment(resource: Resource, name: str) -> dict[str, Any]:
    """Environment variables of a container that have plain values."""
    return {entry["name"]: entry.get("value") for entry in container(resource, name).get("env", [])}


def breaks_restricted(resource: Resource) -> list[str]:
    """What a pod template has that Kubernetes' restricted profile forbids."""
    spec, problems = pod(resource), []
    security = spec.get("securityContext", {})
    if security.get("runAsNonRoot") is not True or security.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        problems.append("pod security context")
    problems += [f"{key} is set" for key in ("hostNetwork", "hostPID", "hostIPC") if spec.get(key)]
    problems += [
        f"volume {volume['name']} is a host path" for volume in spec.get("volumes", []) if "hostPath" in volume
    ]
    for each in [*spec.get("initContainers", []), *spec["containers"]]:
        context = each.get("securityContext", {})
        if context.get("allowPrivilegeEscalation") is not False or context.get("capabilities", {}).get("drop") != [
            "ALL"
        ]:
            problems.append(f"container {each['name']}")
    return problems


def environment_references(program: Program, secret: str) -> set[tuple[str, str]]:
    """Variable and entry of each reference to the Secret, in the containers of every object and document."""
    found: set[tuple[str, str]] = set()

    def look(value: Any) -> None:
        if isinstance(value, str) and value.lstrip().startswith("{"):
            try:
                value = json.loads(value)
            except ValueError:
                return
        if isinstance(value, Mapping):
            reference = (value.get("valueFrom") or {}).get("secretKeyRef") if "valueFrom" in value else None
            if reference and reference["name"] == secret:
                found.add((value["name"], reference["key"]))
            for entry in value.values():
                look(entry)
        elif isinstance(value, list):
            for entry in value:
                look(entry)

    for resource in program.resources:
        look(resource.inputs)
    return found
