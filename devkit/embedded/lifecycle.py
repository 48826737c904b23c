"""Start, stop and status of the whole cluster."""

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from devkit.embedded import cgroups, content, firewall, host, packages, parts, pki, ports, processes, readiness, render
from devkit.embedded import layout as at
from devkit.embedded.layout import Layout
from devkit.embedded.parts import Part
from devkit.errors import DevkitError
from devkit.files import replace_text
from devkit.steps import Report

GIBIBYTE = 1024**3


def start(layout: Layout, binaries: Path, report: Report) -> None:
    """Starts what isn't running and waits until the cluster is usable."""
    with processes.exclusive(layout), ThreadPoolExecutor(max_workers=1) as pool:
        if os.geteuid() != 0:
            raise DevkitError("the embedded cluster needs root", "run it as root, or name a cluster with --cluster")
        for line in port_problems(layout):
            raise DevkitError(line)
        host.choose_families(layout)
        everything = parts.all_parts(layout, binaries)
        pause = pool.submit(content.ensure_pause_archive, layout)
        prepare_host(layout)
        configure(layout)
        for stage in parts.STAGES:
            _start_stage(layout, binaries, [everything[name] for name in stage], report)
            if "containerd" in stage:
                content.import_pause(layout, binaries, pause.result())
            if "kube-apiserver" in stage:
                content.apply_manifests(layout, binaries)
        readiness.wait_until_usable(layout, binaries, report)


def port_problems(layout: Layout) -> list[str]:
    """One line for each taken port that a stopped part needs: port, holder, remedy."""
    dead = [name for name in parts.PART_NAMES if processes.running_pid(layout, name) is None]
    return [line for name in dead for line in ports.taken(parts.ports_of(name), name)]


def prepare_host(layout: Layout) -> None:
    """Folders, kernel settings, bridge, packet filter and cgroups. Raises DevkitError if the host refuses."""
    folders = (layout.logs, layout.pids, layout.pki, layout.config, layout.volumes, layout.kubelet, layout.run,
               layout.run / "s", layout.cluster / "tmp", layout.buildkit_data, layout.registry_data)  # fmt: skip
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    for folder in (layout.state, layout.cluster, layout.run, layout.pki):
        folder.chmod(0o700)
    host.refuse_address_clash(layout)
    host.ensure_bridge(layout)
    host.remember(layout)
    host.prepare_sysctls(layout)
    firewall.ensure_rules(layout)
    cgroups.ensure()


def configure(layout: Layout) -> None:
    """Keys, kubeconfigs and configuration files, rewritten at every start; keys only when missing."""
    pki.ensure_pki(layout)
    server = f"https://{at.LOOPBACK}:{at.API_PORT}"
    for certificate in pki.CERTIFICATES:
        if certificate.kubeconfig:
            text = render.kubeconfig(layout, certificate.name, server)
            replace_text(layout.kubeconfig_of(certificate.name), text)
    replace_text(layout.kubeconfig, render.kubeconfig(layout, "admin", server))
    runc = packages.tool(layout, "runc")
    plugins = packages.tool(layout, "containernetworking-plugins").parent
    keep = max(5, min(20, shutil.disk_usage(layout.cache).free // GIBIBYTE // 3))
    files = {
        "secrets-encryption.json": render.secrets_encryption((layout.pki / pki.ENCRYPTION_KEY).read_text()),
        "kubelet.json": render.kubelet(layout, host.resolver() or "/dev/null"),
        "kube-proxy.json": render.kube_proxy(layout),
        "containerd.toml": render.containerd(layout, runc, plugins),
        "network/10-modelops.conflist": render.network(layout, host.outward_mtu()),
        "Corefile": render.corefile(layout, host.resolver()),
        "registry.yml": render.registry(layout),
        "buildkit-runc": render.buildkit_runc(layout, runc),
        "buildkitd.toml": render.buildkit(layout, layout.config / "buildkit-runc", keep),
        "registries/_default/hosts.toml": render.mirror_hosts(at.REGISTRY, at.MIRROR),
        **{f"registries/{name}:{at.REGISTRY_PORT}/hosts.toml": render.registry_hosts(at.REGISTRY)
           for name in ("localhost", at.LOOPBACK)},
    }  # fmt: skip
    for name, text in files.items():
        path = layout.config / name
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_text(path, text, mode=0o700 if text.startswith("#!") else 0o600)
    (layout.buildx / "instances").mkdir(parents=True, exist_ok=True)
    replace_text(layout.buildx / "instances" / at.BUILDER, render.builder(layout))


def _start_stage(layout: Layout, binaries: Path, stage: list[Part], report: Report) -> None:
    environment = parts.environment(layout, binaries)
    for part in stage:
        if processes.running_pid(layout, part.name) is None:
            report(f"starting {part.name}")
            processes.spawn(layout, part.name, part.command, environment)
    for part in stage:
        processes.wait_for(layout, part.name, part.ready, part.timeout_seconds)


def stop(layout: Layout, report: Report) -> None:
    """Stops everything and restores the host. Works on a half-started or half-stopped cluster, too."""
    with processes.exclusive(layout):
        report("stopping the parts")
        processes.stop_parts(layout, parts.PART_NAMES)
        report("stopping leftover containers and builds")
        processes.kill_all(processes.strays(layout))
        ours = host.is_ours(layout)
        if ours:
            cgroups.kill_contained_processes()
        report("unmounting what containers and builds used")
        host.unmount_below(layout.cluster, layout.run, layout.buildkit_data)
        if ours:
            _restore_host(layout, report)
        report("removing the cluster's state")
        for folder in (layout.run, layout.buildx, layout.cluster):
            if folder.exists():
                shutil.rmtree(folder)
        layout.kubeconfig.unlink(missing_ok=True)


def _restore_host(layout: Layout, report: Report) -> None:
    """The bridge goes last: until then the host counts as taken, even after a failed stop."""
    before = host.remembered(layout)
    controllers, packet_filter = before.get("cgroup_controllers", []), before.get("packet_filter", {})
    assert isinstance(controllers, list) and isinstance(packet_filter, dict)
    report("removing cgroups")
    cgroups.remove()
    cgroups.restore_controllers(controllers)
    report("removing packet filter rules")
    firewall.remove_rules(packet_filter)
    report("restoring the host's settings")
    host.restore_sysctls(layout)
    host.clear_kept_folders(layout)
    report("removing the pod network")
    host.remove_bridge()


def status(layout: Layout) -> dict[str, object]:
    """Each part with pid, memory in KiB and whether it runs; then the sums, containers included."""
    entries: dict[str, object] = {}
    total = 0
    for name in parts.PART_NAMES:
        pid = processes.running_pid(layout, name)
        memory = processes.memory_kibibytes(pid) if pid else {"rss": 0, "pss": 0}
        total += memory["pss"]
        entries[name] = {"ok": pid is not None, "pid": pid, "rss_kib": memory["rss"], "pss_kib": memory["pss"]}
    shims = processes.shims(layout)
    contained = cgroups.contained_processes()
    sums = {
        "parts_pss_kib": total,
        "shims_pss_kib": sum(processes.memory_kibibytes(pid)["pss"] for pid in shims),
        "containers_pss_kib": sum(processes.memory_kibibytes(pid)["pss"] for pid in contained),
    }
    return {"parts": entries, "memory": sums}


def print_status(layout: Layout) -> bool:
    """Prints the status as JSON; returns whether every part runs."""
    current = status(layout)
    print(json.dumps(current, indent=1))
    entries = current["parts"]
    assert isinstance(entries, dict)
    return all(entry["ok"] for entry in entries.values())
