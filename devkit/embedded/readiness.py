"""Readiness of a started cluster: node, DNS, storage, image builder and metrics all respond."""

import contextlib
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

from devkit.embedded import content, host, processes
from devkit.embedded import layout as at
from devkit.embedded.layout import Layout
from devkit.embedded.parts import binary
from devkit.embedded.probes import Probe
from devkit.steps import Report

TIMEOUT_SECONDS = 90
DNS_NAME = f"kubernetes.default.svc.{at.CLUSTER_DOMAIN}"


def wait_until_usable(layout: Layout, binaries: Path, report: Report) -> None:
    """Waits for everything that a stack relies on. Raises DevkitError with the part that is not ready."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    for part, provided, check in _checks(layout, binaries):
        report(f"waiting for {provided}")
        while not check():
            if processes.running_pid(layout, part) is None:
                raise processes.failure(layout, part, "stopped by itself")
            if time.monotonic() > deadline:
                raise processes.failure(
                    layout, part, f"runs, but after {TIMEOUT_SECONDS} s there is still no {provided}"
                )
            time.sleep(0.3)


def _checks(layout: Layout, binaries: Path) -> Iterator[tuple[str, str, Probe]]:
    """The part responsible, what it has to provide, and the check for it."""
    kubectl = (*content.kubectl(layout, binaries), "--request-timeout=5s", "get")
    node = ("node", at.NODE_NAME, "-o", "jsonpath={.status.conditions[?(@.type=='Ready')].status}")
    yield "kubelet", "node that is Ready", lambda: host.run(*kubectl, *node, check=False) == "True"
    yield "coredns", f"address of {DNS_NAME}", lambda: resolves(DNS_NAME)
    classes = ("storageclass", at.STORAGE_CLASS, "-o", "name")
    yield "agent", "storage class", lambda: bool(host.run(*kubectl, *classes, check=False))
    workers = (binary(binaries, "buildctl"), "--addr", f"unix://{layout.buildkit_socket}", "debug", "workers")
    yield "buildkitd", "image builder", lambda: "linux/" in host.run(*workers, check=False)
    metrics = ("--raw", "/apis/metrics.k8s.io/v1beta1/nodes")
    yield "metrics-server", "metrics API", lambda: "NodeMetricsList" in host.run(*kubectl, *metrics, check=False)


def resolves(name: str) -> bool:
    """Whether the cluster's DNS resolves `name`, over UDP as pods do."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client, contextlib.suppress(OSError):
        client.settimeout(2)
        client.sendto(query(name), (at.BRIDGE_ADDRESS, at.DNS_PORT))
        answer = client.recv(512)
        return len(answer) > 8 and answer[3] & 0xF == 0 and answer[6:8] != b"\0\0"
    return False


def query(name: str) -> bytes:
    """A DNS query for the IPv4 address of `name`."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack(">HHHHHH", 0x4D4F, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", 1, 1)
