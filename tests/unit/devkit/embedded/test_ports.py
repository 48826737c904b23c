"""Ports: a taken one is named together with its holder."""

import os
import socket

import pytest

from devkit.embedded import parts, ports
from devkit.embedded.ports import Port

TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1388 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4242 1 0 100 0 0 10 0
   1: 00000000:07E8 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 17 1 0 100 0 0 10 0
   2: 0100007F:1388 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 99 1 0 100 0 0 10 0
"""


def test_kernel_table_is_read() -> None:
    found = ports.parse_table(TABLE, "0A")
    assert [(entry.address, entry.number, entry.inode) for entry in found] == [
        ("127.0.0.1", 5000, "4242"),
        ("0.0.0.0", 2024, "17"),
    ]


def test_taken_port_is_named_with_its_holder() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        number = server.getsockname()[1]
        (line,) = ports.taken([Port(number, "127.0.0.1")], "the part")
    assert f"127.0.0.1:{number}/tcp is needed by the part" in line
    assert f"(pid {os.getpid()})" in line
    assert "—" in line


def test_listener_on_all_addresses_takes_every_one() -> None:
    with socket.create_server(("0.0.0.0", 0)) as server:
        assert ports.taken([Port(server.getsockname()[1], "127.0.0.1")], "the part")


def test_same_port_at_another_address_is_free() -> None:
    with socket.create_server(("127.0.0.9", 0)) as server:
        assert ports.taken([Port(server.getsockname()[1], "127.0.0.1")], "the part") == []


def test_udp_is_looked_at_apart_from_tcp() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1", 0))
        number = bound.getsockname()[1]
        assert ports.taken([Port(number, "127.0.0.1", "udp")], "the part")
        assert ports.taken([Port(number, "127.0.0.1", "tcp")], "the part") == []


def test_free_port_is_no_problem() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        number = server.getsockname()[1]
    assert ports.taken([Port(number, "127.0.0.1")], "the part") == []


@pytest.mark.parametrize("name", parts.PART_NAMES)
def test_every_part_keeps_to_loopback_and_the_bridge(name: str) -> None:
    assert {port.address for port in parts.ports_of(name)} <= {"127.0.0.1", "10.203.0.1"}


def test_no_two_parts_want_the_same_port() -> None:
    wanted = [str(port) for name in parts.PART_NAMES for port in parts.ports_of(name)]
    assert len(wanted) == len(set(wanted))
