"""A node image for kind, made from what the toolchain builds and Debian's systemd; kind's own may be out of reach.

kind starts the image's systemd, and `kubeadm init` in it. So the node has to have containerd, kubelet, kubeadm, a
network configuration, and the images of the control plane, which are one program each.
"""

import io
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from devkit import base_image, toolchain, versions
from devkit.embedded import content, oci, packages
from devkit.embedded.layout import Layout
from devkit.paths import cache_root
from tests import toolchain as test_toolchain

NAME = "kindest/node:local"
_PACKAGES = "systemd,conntrack,iptables,iproute2,ethtool,kmod,libseccomp2,jq,procps,curl,ca-certificates"
_UNWANTED = ("multi-user.target.wants/*", "local-fs.target.wants/*", "sockets.target.wants/*udev*",
             "sockets.target.wants/*initctl*", "basic.target.wants/*",
             "sysinit.target.wants/systemd-tmpfiles-setup.service")  # fmt: skip
_IMPORT_IMAGES = """\
[Unit]
After=containerd.service
Requires=containerd.service
Before=kubelet.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -ec 'for f in /kind/images/*.tar; do ctr -n k8s.io images import $f; done'
"""
_PATH = {"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]}
_LIBRARIES = ("libc.", "libm.", "ld-linux", "libxtables", "libmnl", "libnftnl", "libip4tc", "libip6tc",
              "libnetfilter_conntrack", "libnfnetlink", "xtables")  # fmt: skip


def root_folder() -> Path:
    """The image's files, made once and kept in the cache."""
    root = cache_root() / "laptop" / "node"
    if not (root / "kind" / "version").exists():
        shutil.rmtree(root, ignore_errors=True)
        _debootstrap(root)
        _add_programs(root)
        _configure(root)
        _add_images(root)
        _write(root, "kind/version", f"v{versions.kubernetes()}")
    return root


def _debootstrap(root: Path) -> None:
    layout = Layout()
    home = packages.root(layout)
    environment = os.environ | {
        "PATH": packages.search_path(layout),
        "DEBOOTSTRAP_DIR": str(home / "usr/share/debootstrap"),
        "LC_ALL": "C",
    }
    program = packages.tool(layout, "debootstrap")
    options = ["--variant=minbase", f"--include={_PACKAGES}", base_image.RELEASE, str(root), base_image.mirror()]
    subprocess.run([str(program), *options], env=environment, check=True, capture_output=True)
    for name in ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale"):
        shutil.rmtree(root / name, ignore_errors=True)


def _add_programs(root: Path) -> None:
    """kind's own scripts and units, then the programs that they start."""
    module = _go("list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/kind", folder=test_toolchain.HOME / "kind")
    own = Path(module) / "images" / "base" / "files"
    for file in own.rglob("*"):
        if file.is_file():
            target = root / file.relative_to(own)
            target.unlink(missing_ok=True)
            _copy(file, target, 0o755 if "bin" in file.parts[len(own.parts) :] else 0o644)
    containers, kubernetes = test_toolchain.build("containers"), test_toolchain.build("kubernetes")
    for name in ("containerd", "containerd-shim-runc-v2", "ctr"):
        _copy(containers / name, root / "usr/local/bin" / name)
    for name in ("kubelet", "kubectl"):
        _copy(kubernetes / name, root / "usr/bin" / name)
    _copy(_kubeadm(), root / "usr/bin/kubeadm")
    debian = packages.root(Layout())
    _copy(debian / "usr/sbin/runc", root / "usr/local/sbin/runc")
    for name in ("host-local", "loopback", "ptp", "portmap", "bridge"):
        _copy(debian / "usr/lib/cni" / name, root / "opt/cni/bin" / name)


def _configure(root: Path) -> None:
    units = root / "etc/systemd/system"
    wanted = [unit for pattern in _UNWANTED for unit in (root / "lib/systemd/system").glob(pattern)]
    for unit in [*wanted, *units.glob("*.wants/*")]:
        unit.unlink()
    _write(root, "etc/systemd/system/kind-images.service", _IMPORT_IMAGES)
    (units / "multi-user.target.wants").mkdir(exist_ok=True)
    for name in ("kubelet", "containerd", "undo-mount-hacks", "kind-images"):
        (units / "multi-user.target.wants" / f"{name}.service").symlink_to(f"/etc/systemd/system/{name}.service")
    (units / "systemd-binfmt.service").symlink_to("/dev/null")
    if not (root / "usr/sbin/init").is_symlink():
        (root / "usr/sbin/init").symlink_to("/lib/systemd/systemd")
    settings = root / "etc/containerd/config.toml"
    text = settings.read_text().replace("restrict_oom_score_adj = false", "restrict_oom_score_adj = true")
    settings.write_text(text.replace("pause:3.10", f"pause:{_required_images()['pause']}"))
    ctr = test_toolchain.build("containers") / "ctr"
    spec = json.loads(subprocess.run([str(ctr), "oci", "spec"], capture_output=True, text=True, check=True).stdout)
    spec.setdefault("hooks", {})["createContainer"] = [{"path": "/kind/bin/mount-product-files.sh"}]
    spec["process"].pop("rlimits", None)
    _write(root, "etc/containerd/cri-base.json", json.dumps(spec))
    # This machine may have cgroup v1 alone, which the kubelet takes only when told to.
    flags = "--runtime-cgroups=/system.slice/containerd.service --fail-cgroupv1=false"
    _write(root, "etc/default/kubelet", f"KUBELET_EXTRA_ARGS={flags}\n")
    _write(root, "etc/cni/net.d/10-bridge.conflist", json.dumps(_network()))
    # kind applies both; the network above and pods without volumes need neither.
    for name in ("cni", "storage"):
        nothing = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "kube-system"}}
        _write(root, f"kind/manifests/default-{name}.yaml", json.dumps(nothing))
    (root / "etc/kubernetes/manifests").mkdir(parents=True)


def _network() -> dict[str, object]:
    addresses = {"type": "host-local", "ranges": [[{"subnet": "10.244.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}
    bridge = {"type": "bridge", "bridge": "cni0", "isGateway": True, "ipMasq": True, "hairpinMode": True}
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "1.0.0", "name": "bridge", "plugins": [bridge | {"ipam": addresses}, ports]}


def _add_images(root: Path) -> None:
    programs, required = test_toolchain.build("kubernetes"), _required_images()
    for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd"):
        _image(root, name, required[name], {programs / name: f"usr/local/bin/{name}"}, _PATH)
    coredns: dict[str, object] = {**_PATH, "Entrypoint": ["/coredns"]}
    _image(root, "coredns/coredns", required["coredns/coredns"], {programs / "coredns": "coredns"}, coredns)
    _image(
        root,
        "kube-proxy",
        required["kube-proxy"],
        {programs / "kube-proxy": "usr/local/bin/kube-proxy"},
        _PATH,
        _packet_filter(root),
    )
    pause = root / "pause"
    with tarfile.open(content.ensure_pause_archive(Layout())) as archive:
        blobs = [archive.extractfile(name) for name in archive.getnames() if name.startswith("blobs/")]
        layer = max((blob.read() for blob in blobs if blob), key=len)
    with tarfile.open(fileobj=io.BytesIO(layer)) as files:
        member = files.extractfile("pause")
        assert member is not None
        pause.write_bytes(member.read())
        pause.chmod(0o755)
    _image(root, "pause", required["pause"], {pause: "pause"}, {"Entrypoint": ["/pause"]})
    pause.unlink()


def _packet_filter(root: Path) -> list[str]:
    """The paths of iptables and what it needs, for kube-proxy."""
    folders = ["lib", "lib64", "sbin", "bin", "etc/alternatives", "usr/lib64", "usr/bin/sh", "usr/bin/dash"]
    found = [*(root / "usr/sbin").glob("*ip*tables*"), *(root / "usr/sbin").glob("xtables*")]
    found += [file for file in next(root.glob("usr/lib/*-linux-gnu")).iterdir() if file.name.startswith(_LIBRARIES)]
    names = [*folders, "usr/sbin/conntrack", *(file.relative_to(root).as_posix() for file in found)]
    return [name for name in names if os.path.lexists(root / name)]


def _image(
    root: Path,
    name: str,
    tag: str,
    programs: Mapping[Path, str],
    settings: Mapping[str, object],
    tree: Iterable[str] = (),
) -> None:
    """An archive of an image for the node to import."""
    layer = root / "layer.tar"
    with tarfile.open(layer, "w") as archive:
        for source, target in programs.items():
            archive.add(source, arcname=target)
        for path in tree:
            archive.add(root / path, arcname=path)
    image = oci.image_of(oci.Layer(layer, oci.file_digest(layer), oci.LAYER_TYPE), dict(settings))
    target = root / "kind" / "images" / f"{name.replace('/', '-')}.tar"
    target.parent.mkdir(exist_ok=True)
    oci.write_archive(image, f"registry.k8s.io/{name}:{tag}", target)
    layer.unlink()


def _required_images() -> dict[str, str]:
    """The images that kubeadm's static pods name, and their tags."""
    command = [str(_kubeadm()), "config", "images", "list", "--kubernetes-version", f"v{versions.kubernetes()}"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return dict(line.removeprefix("registry.k8s.io/").rsplit(":", 1) for line in lines)  # type: ignore[misc]


def _kubeadm() -> Path:
    """kubeadm, built with the pins of the platform's Kubernetes, which itself does not need it."""
    group = toolchain.groups()["kubernetes"]
    target = cache_root() / "laptop" / f"kubeadm-{versions.kubernetes()}"
    if not target.exists():
        folder = target.with_name("kubeadm-module")
        shutil.copytree(group.home / group.name, folder, dirs_exist_ok=True)
        flags = [*group.flags, "-mod=mod", "-o", str(target)]
        _go("build", *flags, "k8s.io/kubernetes/cmd/kubeadm", folder=folder)
        shutil.rmtree(folder)
    return target


def _go(*arguments: str, folder: Path) -> str:
    environment = os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off"}
    done = subprocess.run(["go", *arguments], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


def _copy(source: Path, target: Path, mode: int = 0o755) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(mode)


def _write(root: Path, name: str, text: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)
