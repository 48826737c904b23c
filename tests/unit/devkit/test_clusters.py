"""Which cluster `up` takes, and that it never takes one that nobody named."""

import json
import os
import stat
from pathlib import Path

import pytest
import yaml

from devkit import clusters
from devkit.clusters import tools
from devkit.clusters.containers import kind_settings
from devkit.clusters.tools import NODE_PORTS
from devkit.errors import DevkitError


@pytest.fixture(autouse=True)
def own_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    (tmp_path / "stacks").mkdir()
    (tmp_path / "stacks" / "Pulumi.dev.yaml").write_text("config:\n  modelops:namespace: x\n")
    (tmp_path / "stacks" / "Pulumi.prod.yaml").write_text("config:\n  kubernetes:context: their-prod # theirs\n")
    monkeypatch.setattr(clusters, "REPOSITORY", tmp_path)
    monkeypatch.setenv("MODELOPS_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("MODELOPS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "bin").mkdir()
    return tmp_path


def pretend(folder: Path, name: str, script: str = "exit 0") -> None:
    """A program on the PATH that notes how it was called."""
    file = folder / "bin" / name
    file.write_text(f'#!/bin/sh\necho "{name} $*" >> {folder}/calls\n{script}\n')
    file.chmod(file.stat().st_mode | stat.S_IXUSR)


def calls(folder: Path) -> str:
    return (folder / "calls").read_text()


def test_the_context_that_the_stack_names_comes_first(own_folders: Path) -> None:
    pretend(own_folders, "minikube")
    chosen = clusters.choose(None, "prod")
    assert (chosen.kind, chosen.name) == ("context", "their-prod")  # type: ignore[attr-defined]


def test_an_installed_minikube_comes_before_kind_and_both_before_the_embedded_cluster(own_folders: Path) -> None:
    assert clusters.choose(None, "dev").kind == "embedded"
    pretend(own_folders, "kind")
    assert clusters.choose(None, "dev").kind == "kind"
    pretend(own_folders, "minikube")
    assert clusters.choose(None, "dev").kind == "minikube"


def test_a_choice_by_hand_wins(own_folders: Path) -> None:
    pretend(own_folders, "minikube")
    assert clusters.choose("embedded", "prod").kind == "embedded"


def test_a_context_that_no_config_names_is_refused() -> None:
    with pytest.raises(DevkitError, match=r"stacks/Pulumi\.dev\.yaml names no context"):
        clusters.choose("context", "dev")


def test_a_tool_that_is_not_installed_is_refused() -> None:
    with pytest.raises(DevkitError, match="kind is not installed"):
        clusters.choose("kind", "dev")


def test_an_unknown_stack_is_named_with_those_there_are() -> None:
    with pytest.raises(DevkitError, match="choose one of dev, prod"):
        clusters.choose(None, "quality")


def test_the_choice_is_remembered_for_down_and_status(own_folders: Path) -> None:
    assert clusters.running() is None
    clusters.remember(clusters.choose(None, "prod"))
    found = clusters.running()
    assert found is not None and found.kind == "context"
    assert json.loads((own_folders / "state" / "cluster.json").read_text())["context"] == "their-prod"


NO_REGISTRY_YET = 'case "$1 $2" in "buildx inspect") exit 1;; "inspect --format") exit 1;; esac'


def docker_with(folder: Path, ports: dict[str, object], address: str) -> None:
    """A Docker engine that shows a node with these published ports and this address."""
    shown = json.dumps({"Ports": ports, "Networks": {"kind": {"IPAddress": address}}})
    pretend(folder, "docker", f"""test "$1" = inspect && echo '{shown}'""")


def test_kind_gets_a_registry_and_a_kubeconfig_of_its_own(own_folders: Path) -> None:
    pretend(own_folders, "kind")
    pretend(own_folders, "docker", NO_REGISTRY_YET)
    clusters.Kind().start(lambda _: None)
    made = calls(own_folders)
    assert "--publish 127.0.0.1:5001:5001 --env REGISTRY_HTTP_ADDR=0.0.0.0:5001 --name modelops-registry" in made
    assert f"--kubeconfig {own_folders}/state/kubeconfig" in made


def test_the_builder_finds_the_registry_wherever_docker_runs(own_folders: Path) -> None:
    pretend(own_folders, "kind")
    pretend(own_folders, "docker", NO_REGISTRY_YET)
    clusters.Kind().start(lambda _: None)
    [create] = [line for line in calls(own_folders).splitlines() if "buildx create" in line]
    # `network=host` would be that of Docker's virtual machine on macOS and Windows.
    assert create.endswith("--driver-opt network=container:modelops-registry")


def test_a_registry_that_runs_is_kept(own_folders: Path) -> None:
    pretend(own_folders, "kind", "echo modelops")
    pretend(own_folders, "docker", 'test "$2" = --format && echo "true [REGISTRY_HTTP_ADDR=0.0.0.0:5001]"; exit 0')
    clusters.Kind().start(lambda _: None)
    assert "docker run" not in calls(own_folders) and "kind create" not in calls(own_folders)


def test_each_node_port_of_a_kind_cluster_is_mapped_to_this_machine_alone() -> None:
    settings = yaml.safe_load(kind_settings())
    [node] = settings["nodes"]
    assert {(port["containerPort"], port["hostPort"]) for port in node["extraPortMappings"]} == {
        (port, port) for port in NODE_PORTS
    }
    assert {port["listenAddress"] for port in node["extraPortMappings"]} == {"127.0.0.1"}
    patches = [yaml.safe_load(patch)["apiServer"]["extraArgs"] for patch in node["kubeadmConfigPatches"]]
    assert patches == [
        [{"name": "service-node-port-range", "value": "30000-30031"}],
        {"service-node-port-range": "30000-30031"},
    ]


def test_minikube_gets_a_profile_of_its_own_and_is_deleted_by_that_name(own_folders: Path) -> None:
    for name in ("minikube", "docker"):
        pretend(own_folders, name)
    clusters.Minikube().start(lambda _: None)
    clusters.Minikube().stop(lambda _: None)
    made = calls(own_folders)
    assert "minikube --profile modelops start" in made
    assert "--ports=127.0.0.1:30000:30000,127.0.0.1:30001:30001," in made
    assert "minikube --profile modelops delete" in made


def test_node_ports_that_are_mapped_answer_on_the_loopback_address(own_folders: Path) -> None:
    docker_with(own_folders, {f"{port}/tcp": [{"HostIp": "127.0.0.1"}] for port in NODE_PORTS}, "192.0.2.1")
    for cluster in (clusters.Kind(), clusters.Minikube()):
        assert cluster.facts()["node_host"] == "127.0.0.1" and cluster.facts()["load_balancer"] is False


def test_an_older_node_without_mapped_ports_is_reached_by_its_address(
    own_folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker_with(own_folders, {"6443/tcp": [{"HostIp": "127.0.0.1"}]}, "172.18.0.2")
    monkeypatch.setattr(tools, "answers", lambda host: host == "172.18.0.2")
    assert clusters.Kind().facts()["node_host"] == "172.18.0.2"


def test_an_older_node_in_a_virtual_machine_has_to_be_made_anew(
    own_folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker_with(own_folders, {"6443/tcp": None}, "172.18.0.2")
    monkeypatch.setattr(tools, "answers", lambda _: False)
    with pytest.raises(DevkitError, match=r"modelops-control-plane has no mapped node ports.*`make down`, then"):
        clusters.Kind().facts()


def own_cluster(folder: Path, services: list[dict[str, object]]) -> None:
    """A cluster of the user's with these Services and one node."""
    (folder / "services").write_text(json.dumps({"items": services}) + "\n")
    node = {
        "status": {"addresses": [{"type": "Hostname", "address": "n"}, {"type": "InternalIP", "address": "10.9.9.9"}]}
    }
    (folder / "nodes").write_text(json.dumps({"items": [node]}) + "\n")
    # The shell alone: there is nothing else on the PATH of these tests.
    pretend(folder, "kubectl", f'while read -r line; do echo "$line"; done < {folder}/$4')


def test_a_kind_cluster_of_the_users_gets_node_ports_at_its_nodes_address(
    own_folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_cluster(own_folders, [{"status": {"loadBalancer": {}}}])
    monkeypatch.setattr(tools, "answers", lambda host: host == "10.9.9.9")
    facts = clusters.Context("kind-theirs").facts()
    assert (facts["load_balancer"], facts["node_host"]) == (False, "10.9.9.9")


def test_a_cluster_of_the_users_that_assigns_addresses_keeps_its_load_balancer(own_folders: Path) -> None:
    own_cluster(own_folders, [{"status": {"loadBalancer": {"ingress": [{"ip": "172.18.0.9"}]}}}])
    assert clusters.Context("kind-theirs").facts()["load_balancer"] is True
    assert clusters.Context("prod").facts()["load_balancer"] is True


def test_a_cluster_of_the_users_without_any_way_in_is_named(own_folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own_cluster(own_folders, [])
    monkeypatch.setattr(tools, "answers", lambda _: False)
    with pytest.raises(DevkitError, match=r"minikube can't be reached.*run cloud-provider-kind or"):
        clusters.Context("minikube").facts()


def test_the_devkits_kubeconfig_is_not_the_users(own_folders: Path) -> None:
    assert clusters.Kind().environment() == {"KUBECONFIG": str(own_folders / "state" / "kubeconfig")}
    assert os.environ.get("KUBECONFIG") != str(own_folders / "state" / "kubeconfig")
