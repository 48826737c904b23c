"""Finds, before anything starts, which programs hold ports that the cluster needs."""

import contextlib
import errno
import ipaddress
import os
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_TCP_LISTEN = "0A"
_UDP_BOUND = "07"


@dataclass(frozen=True)
class Port:
    """An address and port that a part listens on."""

    number: int
    address: str
    protocol: str = "tcp"

    def __str__(self) -> str:
        return f"{self.address}:{self.number}/{self.protocol}"


@dataclass(frozen=True)
class Listener:
    """A listening socket in the kernel's table."""

    address: str
    number: int
    inode: str


REMEDY = "stop that program, or use another cluster (--cluster)"


def taken(required: Iterable[Port], needed_by: str) -> list[str]:
    """One line for each of `required` that is in use: the port, the part that needs it, its holder, the remedy."""
    lines = []
    for port in required:
        for listener in listeners(port.protocol):
            if listener.number == port.number and _covers(listener.address, port.address) and not _free(port):
                lines.append(f"port {port} is needed by {needed_by} but in use by {holder(listener.inode)} — {REMEDY}")
                break
    return lines


def listeners(protocol: str) -> list[Listener]:
    """Every listening socket of `protocol` (tcp or udp), IPv4 and IPv6."""
    state = _TCP_LISTEN if protocol == "tcp" else _UDP_BOUND
    sockets: list[Listener] = []
    for table in (protocol, protocol + "6"):
        with contextlib.suppress(OSError):
            sockets += parse_table(Path("/proc/net", table).read_text(), state)
    return sockets


def parse_table(text: str, state: str) -> list[Listener]:
    """Sockets in `state` of one of the kernel's tables (/proc/net/tcp and the like)."""
    sockets = []
    for line in text.splitlines()[1:]:
        fields = line.split()
        if fields[3] == state:
            address, _, number = fields[1].partition(":")
            sockets.append(Listener(_address(address), int(number, 16), fields[9]))
    return sockets


def holder(inode: str) -> str:
    """The process that has the socket open: name and pid, or "another program" when that can't be seen."""
    target = f"socket:[{inode}]"
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            for descriptor in (process / "fd").iterdir():
                with contextlib.suppress(OSError):
                    if os.readlink(descriptor) == target:
                        return f"{(process / 'comm').read_text().strip()} (pid {process.name})"
    return "another program"


def _address(text: str) -> str:
    words = [text[start : start + 8] for start in range(0, len(text), 8)]
    packed = b"".join(struct.pack("=I", int(word, 16)) for word in words)
    if len(packed) == 4:
        return socket.inet_ntop(socket.AF_INET, packed)
    address = ipaddress.IPv6Address(packed)
    return str(address.ipv4_mapped or address)


def _free(port: Port) -> bool:
    """Whether the port can be bound after all: `::` may or may not include the IPv4 addresses."""
    kind = socket.SOCK_STREAM if port.protocol == "tcp" else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, kind) as trial:
        if port.protocol == "tcp":
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((port.address, port.number))
        except OSError as problem:
            if problem.errno != errno.EADDRNOTAVAIL:
                return False
            return _free(Port(port.number, "0.0.0.0", port.protocol))  # the bridge doesn't exist yet
    return True


def _covers(listening: str, required: str) -> bool:
    return listening in ("0.0.0.0", "::") or listening == required
