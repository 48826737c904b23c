"""What the cluster changes on its host (sysctls, packet filter, bridge, cgroups) and how each is restored."""

import contextlib
import ipaddress
import json
import os
import shutil
import subprocess
import time
from pathlib import Path

from devkit.embedded import cgroups
from devkit.embedded import layout as at
from devkit.embedded.layout import NETWORK_NAME, Layout
from devkit.errors import DevkitError
from devkit.files import replace_text

# First the ones that we set, then those that the kubelet, kube-proxy and the bridge plugin set.
SYSCTLS_SET = {"net/ipv4/ip_forward": "1", "net/bridge/bridge-nf-call-iptables": "1"}
# Forwarding makes a host ignore the routes that routers announce, so only a cluster with IPv6 sets it.
SYSCTLS_SET_6 = {"net/ipv6/conf/all/forwarding": "1", "net/bridge/bridge-nf-call-ip6tables": "1"}
SYSCTLS_KEPT = (
    *SYSCTLS_SET,
    *SYSCTLS_SET_6,
    "net/ipv4/conf/all/route_localnet",
    "net/ipv4/conf/default/route_localnet",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)
IPV6 = Path("/proc/net/if_inet6")
"""Is there if the kernel has IPv6."""
# Folders outside ours whose paths are fixed in the kubelet and the network library: whatever appears there is ours,
# except that other container engines may share the network library's folder.
KEPT_FOLDERS = (
    Path("/var/log/pods"),
    Path("/var/log/containers"),
    Path("/var/lib/kubelet/device-plugins"),
    Path("/var/lib/kubelet"),
    Path("/var/lib/cni/results"),
    Path("/var/lib/cni"),
)


def run(*command: str, check: bool = True, stdin: str | None = None) -> str:
    """Runs a short command and returns what it printed. Raises DevkitError with the command's last line of output."""
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    if check and done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise DevkitError(f"{' '.join(command[:4])} failed: {lines[-1] if lines else f'exit code {done.returncode}'}")
    return done.stdout


def remember(layout: Layout) -> None:
    """Records the host's own settings before the first start; later starts leave the record alone."""
    if layout.host_facts.exists():
        return
    facts = {
        "sysctls": {name: value for name in SYSCTLS_KEPT if (value := _sysctl(name)) is not None},
        "folders": {str(folder): _names(folder) for folder in KEPT_FOLDERS},
        "cgroup_controllers": cgroups.subtree_controllers(),
        "packet_filter": {"ip": saved_tables("iptables"), "ip6": saved_tables("ip6tables")},
    }
    replace_text(layout.host_facts, json.dumps(facts, indent=1))


def remembered(layout: Layout) -> dict[str, object]:
    """The record that `remember` wrote, empty when there is none."""
    if not layout.host_facts.exists():
        return {}
    facts: dict[str, object] = json.loads(layout.host_facts.read_text())
    return facts


def prepare_sysctls(layout: Layout) -> None:
    """Lets the host forward packets, and the packet filter see those inside the bridge (Services need it)."""
    if not Path("/proc/sys/net/bridge").exists():
        for module in ("br_netfilter", "overlay"):
            if shutil.which("modprobe"):
                run("modprobe", module, check=False)
    for name, value in (SYSCTLS_SET | (SYSCTLS_SET_6 if layout.dual_stack else {})).items():
        if _sysctl(name) is None:
            raise DevkitError(f"the kernel has no {name}", "load the module br_netfilter")
        Path("/proc/sys", name).write_text(value)


def restore_sysctls(layout: Layout) -> None:
    """Restores every setting to its value before the first start."""
    kept = remembered(layout).get("sysctls", {})
    assert isinstance(kept, dict)
    for name, value in kept.items():
        if _sysctl(name) != value:
            with contextlib.suppress(OSError):
                Path("/proc/sys", name).write_text(value)


def clear_kept_folders(layout: Layout) -> None:
    """Removes what the kubelet and the network library left in fixed folders; what was there before stays."""
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
    """The MTU of the host's default route, or 1500 when it has none. Pods use the same."""
    for route in json.loads(run("ip", "-j", "-4", "route", "show", "default") or "[]"):
        with contextlib.suppress(OSError, ValueError):
            return int(Path("/sys/class/net", route["dev"], "mtu").read_text())
    return 1500


def resolver() -> str | None:
    """The resolv.conf that names more than a stub resolver on loopback; None when there is none."""
    for path in ("/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"):
        with contextlib.suppress(OSError):
            lines = [line.split() for line in Path(path).read_text().splitlines()]
            servers = [line[1] for line in lines if len(line) > 1 and line[0] == "nameserver"]
            if any(not server.startswith("127.0.0.53") for server in servers):
                return path
    return None


def choose_families(layout: Layout) -> None:
    """Has a new cluster IPv6 beside IPv4 if the environment asks for it; one that is there keeps what it has.

    Raises DevkitError if that isn't what is asked for, or the kernel has no IPv6.
    """
    if os.environ.get(at.DUAL_STACK_VARIABLE, "") in ("", "0") or layout.dual_stack:
        return
    if layout.host_facts.exists():
        raise DevkitError("the embedded cluster is there without IPv6", "run `make down` first")
    if not IPV6.exists():
        raise DevkitError(f"the kernel has no IPv6, which {at.DUAL_STACK_VARIABLE} asks for")
    layout.cluster.mkdir(parents=True, exist_ok=True)
    layout.dual_stack_mark.touch()


def refuse_address_clash(layout: Layout) -> None:
    """Raises DevkitError when another interface already routes one of our address ranges."""
    routes = json.loads(run("ip", "-j", "-4", "route") or "[]")
    routes += json.loads(run("ip", "-j", "-6", "route") or "[]") if layout.dual_stack else []
    for route in routes:
        if route.get("dev") == at.BRIDGE or route.get("dst") in (None, "default"):
            continue
        taken = ipaddress.ip_network(route["dst"], strict=False)
        for ours in (*layout.pod_ranges, *layout.service_ranges):
            if taken.version == ipaddress.ip_network(ours).version and taken.overlaps(ipaddress.ip_network(ours)):
                raise DevkitError(
                    f"the address range {ours} of the embedded cluster is routed to {route.get('dev')} ({taken})",
                    "remove that route or use another cluster (--cluster)",
                )


def owner() -> str | None:
    """The state folder of the cluster that occupies this host, from the bridge's alias; None when there is none."""
    if not Path("/sys/class/net", at.BRIDGE).exists():
        return None
    return Path("/sys/class/net", at.BRIDGE, "ifalias").read_text().strip()


def is_ours(layout: Layout) -> bool:
    """Whether this cluster changed the host. Without the bridge (after a reboot) its record decides."""
    holder = owner()
    return layout.host_facts.exists() if holder is None else holder in ("", str(layout.state))


def ensure_bridge(layout: Layout) -> None:
    """Creates the pods' bridge with the node's address: everything that pods must reach listens there.

    A start creates it first and a stop removes it last: while it exists, the host is taken. Raises DevkitError when it
    belongs to a cluster with another state folder.
    """
    holder = owner()
    if holder is None:
        run("ip", "link", "add", at.BRIDGE, "mtu", str(outward_mtu()), "type", "bridge")
        run("ip", "link", "set", at.BRIDGE, "alias", str(layout.state))
    elif holder not in ("", str(layout.state)):
        raise DevkitError(
            f"an embedded cluster with its state in {holder} occupies this machine",
            f"MODELOPS_STATE={holder} python3 -m devkit down",
        )
    address = f"{at.BRIDGE_ADDRESS}/{at.POD_PREFIX_LENGTH}"
    run("ip", "address", "replace", address, "dev", at.BRIDGE)
    if layout.dual_stack:
        # Nobody else has it: without the check for that it can be used at once.
        address = f"{at.BRIDGE_ADDRESS_6}/{at.POD_PREFIX_LENGTH_6}"
        run("ip", "-6", "address", "replace", address, "dev", at.BRIDGE, "nodad")
    run("ip", "link", "set", at.BRIDGE, "up")


def remove_bridge() -> None:
    """Removes the bridge and the virtual interfaces that are still attached to it."""
    for interface in _names(Path("/sys/class/net", at.BRIDGE, "brif")) or []:
        run("ip", "link", "delete", interface, check=False)
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


def mounts_below(*folders: Path) -> list[str]:
    """Mount points at or below `folders`, innermost first."""
    tops = [str(folder) for folder in folders]
    points = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        point = line.split()[4].encode().decode("unicode_escape")
        if any(point == top or point.startswith(top + "/") for top in tops):
            points.append(point)
    return points[::-1]


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


def _sysctl(name: str) -> str | None:
    try:
        return Path("/proc/sys", name).read_text().strip()
    except OSError:
        return None


def _names(folder: Path) -> list[str] | None:
    return sorted(os.listdir(folder)) if folder.is_dir() else None
