"""Configuration files: valid in their own format, and bound to loopback or the bridge only."""

import base64
import ipaddress
import json
import re
import tomllib
from pathlib import Path

from devkit.embedded import layout as at
from devkit.embedded import render
from devkit.embedded.layout import Layout

RUNC = Path("/packages/runc")


def test_ranges_do_not_overlap_and_hold_their_addresses() -> None:
    pods, services = ipaddress.ip_network(at.POD_CIDR), ipaddress.ip_network(at.SERVICE_CIDR)
    assert not pods.overlaps(services)
    assert ipaddress.ip_address(at.BRIDGE_ADDRESS) in pods
    assert ipaddress.ip_address(at.KUBERNETES_SERVICE) == services[1]
    assert ipaddress.ip_address(at.DNS_SERVICE) in services


def test_kubeconfig_names_loopback_and_carries_its_certificate(layout_with_keys: Layout) -> None:
    config = json.loads(render.kubeconfig(layout_with_keys, "admin", "https://127.0.0.1:6443"))
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    assert cluster["server"] == "https://127.0.0.1:6443"
    assert base64.b64decode(cluster["certificate-authority-data"]) == (layout_with_keys.pki / "ca.crt").read_bytes()
    assert b"PRIVATE KEY" in base64.b64decode(user["client-key-data"])
    assert config["current-context"] == config["contexts"][0]["name"]


def test_kubelet_takes_both_cgroup_versions_and_needs_no_extra_capability(layout: Layout) -> None:
    config = json.loads(render.kubelet(layout, "/etc/resolv.conf"))
    assert config["failCgroupV1"] is False
    assert config["cgroupDriver"] == "cgroupfs"
    assert config["oomScoreAdj"] == 0
    assert config["address"] == at.BRIDGE_ADDRESS
    assert config["readOnlyPort"] == 0
    assert config["authentication"]["anonymous"]["enabled"] is False


def test_kubelet_evicts_by_amounts_that_suit_a_small_disk(layout: Layout) -> None:
    limits = json.loads(render.kubelet(layout, "/etc/resolv.conf"))["evictionHard"]
    assert limits["nodefs.available"] == limits["imagefs.available"] == "1Gi"


def test_kube_proxy_leaves_kernel_limits_alone_and_stays_on_this_machine(layout: Layout) -> None:
    config = json.loads(render.kube_proxy(layout))
    assert config["conntrack"] == {
        "maxPerCore": 0,
        "min": 0,
        "tcpEstablishedTimeout": "0s",
        "tcpCloseWaitTimeout": "0s",
    }
    assert config["nodePortAddresses"] == ["127.0.0.0/8", f"{at.BRIDGE_ADDRESS}/32"]
    assert config["iptables"]["localhostNodePorts"] is True


def test_containerd_pins_our_pause_image_and_keeps_to_our_folders(layout: Layout) -> None:
    config = tomllib.loads(render.containerd(layout, RUNC, Path("/packages/cni")))
    runtime = config["plugins"]["io.containerd.cri.v1.runtime"]
    images = config["plugins"]["io.containerd.cri.v1.images"]
    assert images["pinned_images"]["sandbox"] == at.PAUSE_IMAGE
    assert runtime["restrict_oom_score_adj"] is True
    assert runtime["netns_mounts_under_state_dir"] is True
    assert runtime["containerd"]["runtimes"]["runc"]["options"]["BinaryName"] == str(RUNC)
    assert runtime["containerd"]["runtimes"]["runc"]["options"]["SystemdCgroup"] is False
    for folder in (config["root"], config["state"], config["grpc"]["address"]):
        assert folder.startswith((str(layout.cluster), str(layout.run)))


def test_registry_hosts_speak_plain_http() -> None:
    hosts = tomllib.loads(render.registry_hosts("localhost:5000"))
    assert hosts["server"] == "http://localhost:5000"
    assert "pull" in hosts["host"]["http://localhost:5000"]["capabilities"]


def test_network_bridges_and_maps_ports_but_leaves_masquerading_to_us(layout: Layout) -> None:
    bridge, portmap = json.loads(render.network(layout, 1400))["plugins"]
    assert (bridge["type"], bridge["bridge"], bridge["mtu"]) == ("bridge", at.BRIDGE, 1400)
    assert bridge["ipMasq"] is False
    assert bridge["hairpinMode"] is True
    assert bridge["ipam"]["ranges"][0][0]["gateway"] == at.BRIDGE_ADDRESS
    assert portmap["capabilities"] == {"portMappings": True}


def test_corefile_forwards_the_rest_to_the_host_resolvers(layout: Layout) -> None:
    text = render.corefile(layout, "/etc/resolv.conf")
    assert "forward . /etc/resolv.conf" in text
    assert f"bind {at.BRIDGE_ADDRESS}" in text
    assert text.count("{") == text.count("}")


def test_corefile_without_resolvers_forwards_nothing(layout: Layout) -> None:
    assert "forward" not in render.corefile(layout, None)


def test_registry_listens_on_loopback_only(layout: Layout) -> None:
    config = json.loads(render.registry(layout))
    assert config["http"]["addr"] == "127.0.0.1:5000"
    assert config["storage"]["filesystem"]["rootdirectory"] == str(layout.registry_data)


def test_buildkit_keeps_its_cache_and_limits_it(layout: Layout) -> None:
    config = tomllib.loads(render.buildkit(layout, RUNC, 7))
    worker = config["worker"]["oci"]
    assert config["root"] == str(layout.buildkit_data)
    assert (worker["maxUsedSpace"], worker["gc"], worker["networkMode"]) == ("7GB", True, "host")
    assert config["registry"]["localhost:5000"]["http"] is True
    assert config["registry"]["127.0.0.1:5000"]["http"] is True


def test_builder_is_a_remote_one_named_modelops(layout: Layout) -> None:
    described = json.loads(render.builder(layout))
    assert (described["Name"], described["Driver"]) == ("modelops", "remote")
    assert described["Nodes"][0]["Endpoint"] == f"unix://{layout.buildkit_socket}"


def test_socket_paths_stay_short_however_deep_the_state_folder_is() -> None:
    deep = Layout(Path("/" + "x" * 200), Path("/cache"))
    shim_socket = deep.run / "s" / ("f" * 64)
    assert len(str(shim_socket)) < 108


def test_two_state_folders_never_share_a_run_folder() -> None:
    assert Layout(Path("/a"), Path("/c")).run != Layout(Path("/b"), Path("/c")).run


def test_manifests_have_no_placeholder_left(layout_with_keys: Layout) -> None:
    from devkit.embedded import content

    text = content.manifests(layout_with_keys)
    assert not re.search(r"\$\{", text)
    assert "kind: StorageClass" in text
