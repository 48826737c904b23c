"""kind for real: a Docker Engine in a network of its own, kind from its Go module, a node image made here.

Three minutes; eight the first time, when the node image is made. Nothing of it touches the cluster of the other tests.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from devkit.clusters.tools import NODE_PORTS, REGISTRY_PORT
from devkit.embedded import packages
from devkit.embedded.layout import Layout
from stacks.platform import Platform, without_load_balancer
from tests import toolchain
from tests.cluster.laptop import node_image
from tests.cluster.laptop.engine import Docker, docker_engine
from tests.conftest import REPOSITORY

pytestmark = [
    pytest.mark.laptop,
    pytest.mark.long,
    pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="a Docker Engine of its own needs root"),
]
WEB = f"localhost:{REGISTRY_PORT}/web:1"
OBJECTS = {
    "apiVersion": "v1",
    "kind": "List",
    "items": [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "web", "labels": {"app": "web"}},
            "spec": {"containers": [{"name": "web", "image": WEB}]},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "web"},
            "spec": {"type": "NodePort", "selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 5000}]},
        },
    ],
}


@dataclass
class Laptop:
    """A machine with Docker and kind, and the variables of a user of it."""

    docker: Docker
    variables: dict[str, str]

    def devkit(self, code: str) -> str:
        """Runs some lines of Python with the devkit's cluster as `cluster`; what they print."""
        lines = f"from devkit.clusters import Kind\ncluster = Kind()\n{code}"
        done = self.docker.inside(sys.executable, "-c", lines, timeout=600, **self.variables)
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    def kubectl(self, *arguments: str) -> str:
        program = toolchain.build("kubernetes") / "kubectl"
        kubeconfig = f"{self.variables['MODELOPS_STATE']}/kubeconfig"
        done = self.docker.inside(str(program), "--kubeconfig", kubeconfig, *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def facts(self) -> dict[str, object]:
        return dict(json.loads(self.devkit("import json; print(json.dumps(cluster.facts()))")))


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    folder = tmp_path_factory.mktemp("laptop")
    with docker_engine(folder / "docker") as docker:
        shutil.copy2(toolchain.build("kind") / "kind", docker.folder / "bin" / "kind")
        docker.import_image(node_image.root_folder(), node_image.NAME, '["/usr/local/bin/entrypoint","/sbin/init"]')
        docker.import_image(
            registry_files(folder / "registry"), "registry:2", '["/bin/registry","serve","/config.yml"]'
        )
        docker.run("build", "--quiet", "--tag", "moby/buildkit", str(builder_context(folder / "builder")))
        own = {"MODELOPS_STATE": str(folder / "state"), "MODELOPS_STACKS": str(folder / "stacks")}
        machine = Laptop(docker, own | {"MODELOPS_KIND_IMAGE": node_image.NAME, "PYTHONPATH": str(REPOSITORY)})
        machine.devkit("cluster.start(print)")
        yield machine
        machine.devkit("cluster.stop(print)")
        assert docker.run("ps", "--all", "--quiet") == ""


def registry_files(root: Path) -> Path:
    """The files of an image in place of registry:2: Debian's registry and the C library."""
    program = packages.tool(Layout(), "docker-registry")
    libraries = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=True).stdout.split()
    for name in (path for path in libraries if path.startswith("/")):
        (root / name[1:]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(name, root / name[1:])
    (root / "bin").mkdir(parents=True)
    shutil.copy2(program, root / "bin" / "registry")
    settings = {"version": 0.1, "storage": {"filesystem": {"rootdirectory": "/data"}}, "http": {"addr": ":5000"}}
    (root / "config.yml").write_text(json.dumps(settings))
    return root


def builder_context(folder: Path) -> Path:
    """A Dockerfile's folder of an image in place of moby/buildkit."""
    folder.mkdir()
    for name in ("buildkitd", "buildctl"):
        shutil.copy2(toolchain.build("containers") / name, folder / name)
    text = f'FROM {node_image.NAME}\nCOPY buildkitd buildctl /usr/bin/\nENTRYPOINT ["buildkitd"]\n'
    (folder / "Dockerfile").write_text(text)
    return folder


def test_the_cluster_says_where_its_node_ports_answer(laptop: Laptop) -> None:
    facts = laptop.facts()
    assert facts["node_host"] == "127.0.0.1" and facts["load_balancer"] is False
    assert facts["registry"] == f"localhost:{REGISTRY_PORT}"


def test_a_pushed_image_runs_and_its_service_answers_at_the_address_that_the_stack_prints(laptop: Laptop) -> None:
    laptop.docker.run("tag", "registry:2", WEB)
    laptop.docker.run("push", WEB)
    manifest = Path(laptop.variables["MODELOPS_STATE"]) / "objects.json"
    manifest.write_text(json.dumps(OBJECTS))
    laptop.kubectl("apply", "--filename", str(manifest))
    laptop.kubectl("wait", "pod/web", "--for=condition=Ready", "--timeout=120s")
    port = int(laptop.kubectl("get", "service/web", "--output=jsonpath={.spec.ports[0].nodePort}"))
    assert port in NODE_PORTS
    raw: dict[str, dict[str, object]] = {"service": {"expose": "LoadBalancer"}}
    without_load_balancer(raw, Platform(load_balancer=False, node_host=str(laptop.facts()["node_host"])))
    assert status_of(laptop, f"http://{raw['service']['host']}:{port}/v2/") == "200"


def test_the_builder_pushes_to_the_registry_by_the_name_that_nodes_pull_from(laptop: Laptop) -> None:
    builder, name = "buildx_buildkit_modelops0", f"localhost:{REGISTRY_PORT}/built:1"
    script = "mkdir /c && cd /c && touch file && printf 'FROM scratch\\nCOPY file /\\n' > Dockerfile && buildctl build "
    script += (
        f"--frontend dockerfile.v0 --local context=. --local dockerfile=. --output type=image,name={name},push=true"
    )
    laptop.docker.run("exec", builder, "sh", "-c", script)
    tags = laptop.docker.inside("curl", "--silent", f"http://localhost:{REGISTRY_PORT}/v2/built/tags/list").stdout
    assert json.loads(tags) == {"name": "built", "tags": ["1"]}


def test_a_second_start_finds_everything_there(laptop: Laptop) -> None:
    before = laptop.docker.run("ps", "--quiet", "--no-trunc")
    started = time.monotonic()
    laptop.devkit("cluster.start(print)")
    assert laptop.docker.run("ps", "--quiet", "--no-trunc") == before
    assert time.monotonic() - started < 60


def test_a_cluster_that_was_made_without_mapped_ports_is_reached_by_its_nodes_address(laptop: Laptop) -> None:
    """As one of an earlier version; Docker's network is this machine's own on Linux."""
    other_ports = "from devkit.clusters import tools\ntools.NODE_PORTS = range(20000, 20002)\n"
    host = laptop.devkit(f"{other_ports}print(tools.node_host(cluster.node))").strip()
    address = laptop.docker.run(
        "inspect", "--format", "{{.NetworkSettings.Networks.kind.IPAddress}}", "modelops-control-plane"
    )
    assert host == address.strip()


def status_of(laptop: Laptop, url: str) -> str:
    """The status with which `url` answers, within half a minute."""
    command = ["curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}", "--retry", "30"]
    return laptop.docker.inside(*command, "--retry-delay", "1", "--retry-all-errors", url).stdout
