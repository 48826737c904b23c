"""What the cluster changes on its host (sysctls, packet filter, bridge, cgroups) and how each is put back."""

import contextlib
import ipaddress
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from devkit.embedded import layout as at
from devkit.embedded.layout import NETWORK_NAME, Layout
from devkit.errors import DevkitError

# Those that we set, then those that the kubelet, kube-proxy and the bridge plugin set by themselves.
SYSCTLS_SET = {"net/ipv4/ip_forward": "1", "net/bridge/bridge-nf-call-iptables": "1"}
SYSCTLS_KEPT = (
    *SYSCTLS_SET,
    "net/bridge/bridge-nf-call-ip6tables",
    "net/ipv4/conf/all/route_localnet",
    "net/ipv4/conf/default/route_localnet",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)
# Folders outside ours whose place is built into the kubelet and the network library: whatever appears there is ours,
# except that the network library's folder may serve other container engines too.
KEPT_FOLDERS = (
    Path("/var/log/pods"),
    Path("/var/log/containers"),
    Path("/var/lib/kubelet/device-plugins"),
    Path("/var/lib/kubelet"),
    Path("/var/lib/cni/results"),
    Path("/var/lib/cni"),
)
CGROUPS = Path("/sys/fs/cgroup")


def run(*command: str, check: bool = True, stdin: str | None = None) -> str:
    """Runs a short command and returns what it printed. Raises DevkitError with the command's last words."""
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    if check and done.returncode:
        words = (done.stderr or done.stdout).strip().splitlines()
        raise DevkitError(f"{' '.join(command[:4])} failed: {words[-1] if words else f'exit code {done.returncode}'}")
    return done.stdout


def remember(layout: Layout) -> None:
    """Writes down the host's own settings before the first start; a later start leaves the record alone."""
    if layout.host_facts.exists():
        return
    facts = {
        "sysctls": {name: value for name in SYSCTLS_KEPT if (value := _sysctl(name)) is not None},
        "folders": {str(folder): _names(folder) for folder in KEPT_FOLDERS},
        "packet_filter": {"ip": saved_tables("iptables"), "ip6": saved_tables("ip6tables")},
    }
    part = layout.host_facts.with_suffix(".part")
    part.write_text(json.dumps(facts, indent=1))
    part.replace(layout.host_facts)


def remembered(layout: Layout) -> dict[str, object]:
    """The record that `remember` left, empty when there is none."""
    if not layout.host_facts.exists():
        return {}
    facts: dict[str, object] = json.loads(layout.host_facts.read_text())
    return facts


def prepare_sysctls() -> None:
    """Lets the host forward packets, and shows packets inside the bridge to the packet filter (Services need it)."""
    if not Path("/proc/sys/net/bridge").exists():
        for module in ("br_netfilter", "overlay"):
            if shutil.which("modprobe"):
                run("modprobe", module, check=False)
    for name, value in SYSCTLS_SET.items():
        if _sysctl(name) is None:
            raise DevkitError(f"the kernel has no {name}", "load the module br_netfilter")
        Path("/proc/sys", name).write_text(value)


def restore_sysctls(layout: Layout) -> None:
    """Puts every setting back to what it was before the first start."""
    kept = remembered(layout).get("sysctls", {})
    assert isinstance(kept, dict)
    for name, value in kept.items():
        if _sysctl(name) != value:
            with contextlib.suppress(OSError):
                Path("/proc/sys", name).write_text(value)


def clear_kept_folders(layout: Layout) -> None:
    """Removes what the kubelet and the network library left at fixed places; what was there before stays."""
    before = remembered(layout).get("folders", {})
    assert isinstance(before, dict)
    for folder, names in before.items():
        for name in set(_names(Path(folder)) or []) - set(names or []):
            path = Path(folder, name)
            if folder.startswith("/var/lib/cni") and not name.startswith(NETWORK_NAME):
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        if names is None:
            with contextlib.suppress(OSError):
                Path(folder).rmdir()


def outward_mtu() -> int:
    """The packet size of the host's default route, or 1500 when it has none. Pods use the same."""
    for route in json.loads(run("ip", "-j", "-4", "route", "show", "default") or "[]"):
        with contextlib.suppress(OSError, ValueError):
            return int(Path("/sys/class/net", route["dev"], "mtu").read_text())
    return 1500


def resolver() -> str | None:
    """The resolv.conf with resolvers that are more than a stub on loopback, if any; None when it names none."""
    for path in ("/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"):
        with contextlib.suppress(OSError):
            lines = [line.split() for line in Path(path).read_text().splitlines()]
            servers = [line[1] for line in lines if len(line) > 1 and line[0] == "nameserver"]
            if any(not server.startswith("127.0.0.53") for server in servers):
                return path
    return None


def refuse_address_clash() -> None:
    """Raises DevkitError when another interface already routes one of our address ranges."""
    for route in json.loads(run("ip", "-j", "-4", "route") or "[]"):
        if route.get("dev") == at.BRIDGE or route.get("dst") in (None, "default"):
            continue
        taken = ipaddress.ip_network(route["dst"], strict=False)
        for ours in (at.POD_CIDR, at.SERVICE_CIDR):
            if taken.overlaps(ipaddress.ip_network(ours)):
                raise DevkitError(
                    f"the address range {ours} of the embedded cluster is routed to {route.get('dev')} ({taken})",
                    "take that route away or use another cluster (--cluster)",
                )


def owner() -> str | None:
    """The state folder of the cluster that has this host; None when none has. It is written on the bridge itself."""
    if not Path("/sys/class/net", at.BRIDGE).exists():
        return None
    return Path("/sys/class/net", at.BRIDGE, "ifalias").read_text().strip()


def ensure_bridge(layout: Layout) -> None:
    """Makes the pods' bridge with the node's address on it: everything that pods must reach listens there.

    The first thing that a start makes and the last that a stop removes: while it is there, the host is taken. Raises
    DevkitError when it belongs to a cluster with another state folder.
    """
    holder = owner()
    if holder is None:
        run("ip", "link", "add", at.BRIDGE, "mtu", str(outward_mtu()), "type", "bridge")
        run("ip", "link", "set", at.BRIDGE, "alias", str(layout.state))
    elif holder not in ("", str(layout.state)):
        raise DevkitError(
            f"an embedded cluster with its state in {holder} has this machine",
            f"MODELOPS_STATE={holder} python3 -m devkit down",
        )
    address = f"{at.BRIDGE_ADDRESS}/{at.POD_PREFIX_LENGTH}"
    run("ip", "address", "replace", address, "dev", at.BRIDGE)
    run("ip", "link", "set", at.BRIDGE, "up")


def remove_bridge() -> None:
    """Removes the bridge and whatever virtual cable is still plugged into it."""
    for cable in _names(Path("/sys/class/net", at.BRIDGE, "brif")) or []:
        run("ip", "link", "delete", cable, check=False)
    if Path("/sys/class/net", at.BRIDGE).exists():
        run("ip", "link", "delete", at.BRIDGE)


def saved_tables(family: str) -> dict[str, list[str]]:
    """Name of each packet filter table → its chains, for `family` iptables or ip6tables."""
    tables: dict[str, list[str]] = {}
    table = ""
    for line in run(f"{family}-save", check=False).splitlines():
        if line.startswith("*"):
            table = line[1:]
            tables[table] = []
        elif line.startswith(":"):
            tables[table].append(line[1:].split()[0])
    return tables


def cgroup_folders() -> list[Path]:
    """Our folder in each cgroup hierarchy: several with cgroup v1, one with v2."""
    if (CGROUPS / "cgroup.controllers").exists():
        return [CGROUPS / at.CGROUP[1:]]
    roots: dict[int, Path] = {}
    for root in sorted(CGROUPS.iterdir()):
        # cpu and cpuacct are often two links to one hierarchy.
        if not root.is_symlink() and (root / "cgroup.procs").exists():
            roots.setdefault(_device(root), root)
    return [root / at.CGROUP[1:] for root in roots.values()]


def ensure_cgroups() -> None:
    """Makes the cgroup that everything containerised lives below; the kubelet insists that it is there."""
    for folder in cgroup_folders():
        folder.mkdir(exist_ok=True)
        for name in ("cpuset.cpus", "cpuset.mems"):  # cgroup v1 starts with none, and then takes no process
            if (folder / name).exists() and not (folder / name).read_text().strip():
                (folder / name).write_text((folder.parent / name).read_text())
        if (CGROUPS / "cgroup.controllers").exists():
            available = (CGROUPS / "cgroup.controllers").read_text().split()
            wanted = " ".join(f"+{name}" for name in ("cpu", "cpuset", "io", "memory", "pids") if name in available)
            (CGROUPS / "cgroup.subtree_control").write_text(wanted)


def contained_processes() -> set[int]:
    """Every process inside our cgroups: those of containers and of image builds."""
    found: set[int] = set()
    for folder in cgroup_folders():
        for path in folder.rglob("cgroup.procs"):
            with contextlib.suppress(OSError):
                found.update(int(line) for line in path.read_text().split())
    return found - {0, os.getpid()}


def kill_contained_processes(timeout_seconds: float = 10) -> None:
    """Kills every process inside our cgroups and waits until none is left."""
    deadline = time.monotonic() + timeout_seconds
    while left := contained_processes():
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            raise DevkitError(f"processes {sorted(left)} of the cluster's containers do not die")
        time.sleep(0.05)


def remove_cgroups() -> None:
    """Removes our cgroups, innermost first."""
    for top in cgroup_folders():
        if not top.exists():
            continue
        for folder in sorted((path for path in top.rglob("*") if path.is_dir()), reverse=True):
            _rmdir(folder)
        _rmdir(top)


def _rmdir(folder: Path) -> None:
    for _ in range(40):  # a cgroup is busy for a moment after its last process died
        try:
            folder.rmdir()
            return
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(0.05)
    folder.rmdir()


def mounts_below(*folders: Path) -> list[str]:
    """Mount points at or below `folders`, innermost first."""
    tops = [str(folder) for folder in folders]
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        point = line.split()[4].encode().decode("unicode_escape")
        if any(point == top or point.startswith(top + "/") for top in tops):
            found.append(point)
    return found[::-1]


def unmount_below(*folders: Path) -> None:
    """Unmounts everything at or below `folders`. Raises DevkitError when something stays mounted."""
    for attempt in range(20):
        points = mounts_below(*folders)
        if not points:
            return
        for point in points:
            run("umount", *(["-l"] if attempt > 10 else []), point, check=False)
        time.sleep(0.05 * attempt)
    raise DevkitError(f"{mounts_below(*folders)[0]} stays mounted", "see which process uses it, then `down` again")


def _device(path: Path) -> int:
    return path.stat().st_dev


def _sysctl(name: str) -> str | None:
    try:
        return Path("/proc/sys", name).read_text().strip()
    except OSError:
        return None


def _names(folder: Path) -> list[str] | None:
    return sorted(os.listdir(folder)) if folder.is_dir() else None
