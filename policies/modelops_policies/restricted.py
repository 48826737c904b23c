"""Kubernetes' Pod Security Standard `restricted`, in its latest version, which contains `baseline`.

https://kubernetes.io/docs/concepts/security/pod-security-standards/
"""

from collections.abc import Iterator, Mapping
from typing import Any

from modelops_policies.pods import Pod
from modelops_policies.values import UNKNOWN, at

_VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
}
_SYSCTLS = {
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
}
_SELINUX_TYPES = ("", "container_t", "container_init_t", "container_kvm_t", "container_engine_t")
_PROFILES = ("RuntimeDefault", "Localhost")
_APPARMOR = "container.apparmor.security.beta.kubernetes.io/"
_HANDLERS = (
    ("livenessProbe",),
    ("readinessProbe",),
    ("startupProbe",),
    ("lifecycle", "postStart"),
    ("lifecycle", "preStop"),
)


def problems(pod: Pod) -> Iterator[str]:
    """What of a pod the standard forbids, each with its fix."""
    for host in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.spec.get(host) is True:
            yield f"{host} is true; remove it"
    yield from _volumes(pod)
    for sysctl in _listed(at(pod.spec, "securityContext", "sysctls")):
        if at(sysctl, "name") not in (*_SYSCTLS, UNKNOWN):
            yield f"sysctl {at(sysctl, 'name')} reaches beyond the pod; remove it"
    for key, value in _items(at(pod.metadata, "annotations")):
        if key.startswith(_APPARMOR) and not (value in ("", "runtime/default", UNKNOWN) or _is_localhost(value)):
            yield f"annotation {key} is {value!r}; remove it"
    yield from _context("the pod", pod.spec, pod)
    for name in ("runAsNonRoot", "seccompProfile.type"):
        value = at(pod.spec, "securityContext", *name.split("."))
        if not (value is None or _kept(name, value, pod)):
            yield _wrong("the pod", name, value)
    for container in pod.containers():
        yield from _container(container, pod)


def _container(container: Mapping[str, Any], pod: Pod) -> Iterator[str]:
    who = str(container.get("name"))
    yield from _context(who, container, pod)
    for name in ("runAsNonRoot", "seccompProfile.type"):
        value = at(container, "securityContext", *name.split("."))
        inherited = at(pod.spec, "securityContext", *name.split("."))
        if not (_kept(name, value, pod) or (value is None and (inherited is not None or not pod.whole))):
            yield _wrong(who, name, value)
    escalation = at(container, "securityContext", "allowPrivilegeEscalation")
    if escalation not in (False, UNKNOWN) and not _on_windows(pod) and (pod.whole or escalation is not None):
        yield f"{who}: securityContext.allowPrivilegeEscalation is {escalation!r}; set it to False"
    dropped = at(container, "securityContext", "capabilities", "drop")
    judged = dropped != UNKNOWN and (pod.whole or dropped is not None) and not _on_windows(pod)
    if judged and not {"ALL", UNKNOWN} & set(_listed(dropped)):
        yield f"{who}: capabilities not dropped; set securityContext.capabilities.drop to ['ALL']"
    for port in _listed(container.get("ports")):
        if at(port, "hostPort") not in (None, 0, UNKNOWN):
            yield f"{who}: hostPort {at(port, 'hostPort')} is a port of the node; remove it, and use a Service"
    for handler in _HANDLERS:
        for action in ("httpGet", "tcpSocket"):
            if at(container, *handler, action, "host") not in (None, "", UNKNOWN):
                yield f"{who}: {'.'.join((*handler, action))}.host is set; remove it, or the kubelet calls that host"


def _volumes(pod: Pod) -> Iterator[str]:
    for volume in _listed(pod.spec.get("volumes")):
        given = {key for key, value in _items(volume) if value is not None} - {"name"}
        for kind in sorted(given - _VOLUMES):
            yield f"volume {at(volume, 'name')} is a {kind}; use a claim, or exempt this resource"


def _context(who: str, holder: Mapping[str, Any], pod: Pod) -> Iterator[str]:
    """What neither a pod nor a container may have in its securityContext."""
    context = holder.get("securityContext")
    if at(context, "privileged") is True:
        yield f"{who}: securityContext.privileged is true; remove it"
    if at(context, "windowsOptions", "hostProcess") is True:
        yield f"{who}: securityContext.windowsOptions.hostProcess is true; remove it"
    if at(context, "runAsUser") == 0 and not _in_user_namespace(pod):
        yield f"{who}: securityContext.runAsUser is 0, which is root; set another user, or remove it"
    for name, allowed in (
        ("procMount", (None, "Default")),
        ("appArmorProfile.type", (None, *_PROFILES)),
        ("seLinuxOptions.type", (None, *_SELINUX_TYPES)),
        ("seLinuxOptions.user", (None, "")),
        ("seLinuxOptions.role", (None, "")),
    ):
        value = at(context, *name.split("."))
        if value not in (*allowed, UNKNOWN):
            yield f"{who}: securityContext.{name} is {value!r}; remove it"
    added = {each for each in _listed(at(context, "capabilities", "add")) if each not in ("NET_BIND_SERVICE", UNKNOWN)}
    if added and not _on_windows(pod):
        yield f"{who}: securityContext.capabilities.add has {', '.join(sorted(map(str, added)))}; remove it"


def _kept(name: str, value: Any, pod: Pod) -> bool:
    """Whether a setting that the standard requires has a value that it allows."""
    if name == "runAsNonRoot":
        return value in (True, UNKNOWN) or _in_user_namespace(pod)
    return value in (*_PROFILES, UNKNOWN) or _on_windows(pod)


def _wrong(who: str, name: str, value: Any) -> str:
    required = True if name == "runAsNonRoot" else "RuntimeDefault"
    return f"{who}: securityContext.{name} is {value!r}; set it to {required!r}"


def _in_user_namespace(pod: Pod) -> bool:
    """Whether root in the pod is nobody on its node."""
    return pod.spec.get("hostUsers") in (False, UNKNOWN)


def _on_windows(pod: Pod) -> bool:
    """Whether it has none of Linux' settings."""
    return at(pod.spec, "os", "name") in ("windows", UNKNOWN)


def _is_localhost(value: Any) -> bool:
    return isinstance(value, str) and value.startswith("localhost/")


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _items(value: Any) -> list[tuple[str, Any]]:
    return list(value.items()) if isinstance(value, Mapping) else []
