"""The plugin as Pulumi starts it: by the distribution's name, and yet every type begins with `modelops:index:`."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import grpc
from pulumi.provider.experimental.component import ComponentProvider
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc

from devkit.pulumi_plugins.language_host.servicer import distribution_name
from modelops.__main__ import COMPONENTS as HOSTED

REPOSITORY = Path(__file__).resolve().parents[2]
COMPONENTS = REPOSITORY / "components"


def test_the_distribution_is_nobody_elses_and_needs_no_plugin_of_its_own() -> None:
    project = tomllib.loads((COMPONENTS / "pyproject.toml").read_text())["project"]
    # Pulumi takes each distribution `pulumi-…` for one with a plugin to download.
    assert project["name"] != "modelops" and not project["name"].startswith("pulumi-")


def test_pulumi_finds_the_components_by_the_distributions_name() -> None:
    command = [sys.executable, "-u", "-m", "pulumi.run.plugin", distribution_name(COMPONENTS), "127.0.0.1:1"]
    # In the folder, so that this checkout's modules are found before installed ones.
    with subprocess.Popen(command, cwd=COMPONENTS, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as plugin:
        try:
            assert plugin.stdout and plugin.stderr
            port = plugin.stdout.readline().strip()
            assert port.isdigit(), plugin.stderr.read()
            limits = [("grpc.max_receive_message_length", 64 << 20)]
            with grpc.insecure_channel(f"127.0.0.1:{port}", limits) as channel:
                request = provider_pb2.GetSchemaRequest()
                answer = provider_pb2_grpc.ResourceProviderStub(channel).GetSchema(request, timeout=60)
        finally:
            plugin.kill()
    found = json.loads(answer.schema)
    assert found == json.loads(ComponentProvider(HOSTED, "modelops").schema)
    assert found["name"] == "modelops"
    assert found["resources"] and all(token.startswith("modelops:index:") for token in found["resources"])
