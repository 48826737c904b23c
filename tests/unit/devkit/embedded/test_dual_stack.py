"""The embedded cluster with IPv6 beside IPv4: chosen at its first start, then in every part and rule."""

import ipaddress
import json
from pathlib import Path
from typing import Any

import pytest

from devkit.embedded import firewall, host, parts, render
from devkit.embedded import layout as at
from devkit.embedded.layout import Layout
from devkit.errors import DevkitError
from tests.unit.devkit.embedded.test_parts import PROGRAMS

SERVICES = f"{at.SERVICE_CIDR},{at.SERVICE_CIDR_6}"
PODS = f"{at.POD_CIDR},{at.POD_CIDR_6}"
NODE = f"{at.BRIDGE_ADDRESS},{at.BRIDGE_ADDRESS_6}"


@pytest.fixture(autouse=True)
def _kernel_with_ipv6(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "IPV6", tmp_path)


@pytest.fixture
def dual(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> Layout:
    monkeypatch.setenv(at.DUAL_STACK_VARIABLE, "1")
    host.choose_families(layout)
    monkeypatch.delenv(at.DUAL_STACK_VARIABLE)
    return layout


def flags(layout: Layout, folder: Path, name: str) -> dict[str, str]:
    for program in PROGRAMS:
        (folder / program).touch()
    command = parts.all_parts(layout, folder)[name].command
    return dict(flag.removeprefix("--").split("=", 1) for flag in command[1:])


def test_a_cluster_has_one_family_unless_the_environment_asks_for_two(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    for nothing in ("", "0"):
        monkeypatch.setenv(at.DUAL_STACK_VARIABLE, nothing)
        host.choose_families(layout)
        assert not layout.dual_stack
    monkeypatch.setenv(at.DUAL_STACK_VARIABLE, "1")
    host.choose_families(layout)
    assert layout.dual_stack


def test_a_kernel_without_ipv6_is_told(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "IPV6", Path("/nowhere"))
    monkeypatch.setenv(at.DUAL_STACK_VARIABLE, "1")
    with pytest.raises(DevkitError, match="the kernel has no IPv6, which MODELOPS_DUAL_STACK asks for"):
        host.choose_families(layout)


def test_a_cluster_keeps_its_families_until_it_is_gone(dual: Layout) -> None:
    host.choose_families(dual)  # the environment of the next start says nothing
    assert dual.dual_stack


def test_a_cluster_that_is_there_gets_no_other_family(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    layout.host_facts.parent.mkdir(parents=True)
    layout.host_facts.write_text("{}")
    monkeypatch.setenv(at.DUAL_STACK_VARIABLE, "1")
    with pytest.raises(DevkitError, match="is there without IPv6"):
        host.choose_families(layout)
    assert not layout.dual_stack


def test_ranges_of_ipv6_hold_their_addresses_and_are_private() -> None:
    pods, services = ipaddress.ip_network(at.POD_CIDR_6), ipaddress.ip_network(at.SERVICE_CIDR_6)
    assert not pods.overlaps(services) and pods.is_private and services.is_private
    assert ipaddress.ip_address(at.BRIDGE_ADDRESS_6) in pods
    assert services.prefixlen >= 108  # what the API server takes at most


def test_every_part_knows_both_families(dual: Layout, tmp_path: Path) -> None:
    assert flags(dual, tmp_path, "kube-apiserver")["service-cluster-ip-range"] == SERVICES
    manager = flags(dual, tmp_path, "kube-controller-manager")
    assert (manager["service-cluster-ip-range"], manager["cluster-cidr"]) == (SERVICES, PODS)
    assert flags(dual, tmp_path, "kubelet")["node-ip"] == NODE
    proxy = json.loads(render.kube_proxy(dual))
    assert proxy["clusterCIDR"] == PODS
    assert proxy["nodePortAddresses"][1:] == [f"{at.BRIDGE_ADDRESS}/32", f"{at.BRIDGE_ADDRESS_6}/128"]
    ipam = json.loads(render.network(dual, 1500))["plugins"][0]["ipam"]
    assert [ranges[0]["subnet"] for ranges in ipam["ranges"]] == [at.POD_CIDR, at.POD_CIDR_6]
    assert [route["dst"] for route in ipam["routes"]] == ["0.0.0.0/0", "::/0"]


def test_with_one_family_no_part_knows_of_the_other(layout: Layout, tmp_path: Path) -> None:
    for name in ("kube-apiserver", "kube-controller-manager", "kubelet"):
        assert "fdcb" not in json.dumps(flags(layout, tmp_path, name))
    assert "fdcb" not in render.kube_proxy(layout) + render.network(layout, 1500)


class Host:
    """Keeps the commands that would change the host, with what they were given."""

    def __init__(self) -> None:
        self.commands: list[tuple[str, ...]] = []
        self.inputs: dict[str, str] = {}

    def run(self, *command: str, stdin: str | None = None, **_: Any) -> str:
        self.commands.append(command)
        self.inputs[command[0]] = stdin or ""
        return ""


def test_rules_of_both_packet_filters_are_set_and_masquerade_pods(
    dual: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = Host()
    monkeypatch.setattr(host, "run", done.run)
    firewall.ensure_rules(dual)
    assert f"-s {at.POD_CIDR_6} -j MASQUERADE" in done.inputs["ip6tables-restore"]
    hooked = {(command[-3], command[-1]) for command in done.commands if command[0] == "ip6tables"}
    assert hooked == {(hook, chain) for _, hook, chain in firewall.HOOKS if hook != "OUTPUT"}
    # No chain is jumped to that the rules don't make.
    assert all(f":{command[-1]} " in firewall.RULES_6 for command in done.commands if command[0] == "ip6tables")


def test_with_one_family_the_other_packet_filter_is_left_alone(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    done = Host()
    monkeypatch.setattr(host, "run", done.run)
    firewall.ensure_rules(layout)
    assert not [command for command in done.commands if command[0].startswith("ip6")]


def test_a_route_of_ipv6_in_our_range_is_refused(dual: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*command: str, **_: Any) -> str:
        return json.dumps([{"dst": "fdcb:203::/32", "dev": "vpn0"}] if "-6" in command else [])

    monkeypatch.setattr(host, "run", run)
    with pytest.raises(DevkitError, match=r"fdcb:203:0:1::/64 .* is routed to vpn0"):
        host.refuse_address_clash(dual)
