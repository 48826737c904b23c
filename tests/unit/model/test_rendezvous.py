"""Workers meet, share, end together, and leave when one of them is lost: real processes without any framework."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from modelops_runtime.contract import ContractError, Exit
from modelops_runtime.training.rendezvous import Peers
from modelops_runtime.training.stop import Stop
from tests.conftest import REPOSITORY
from tests.runtime import environment
from tests.unit.model.workers import free_ports

WORKER = """
import sys, time
from modelops_runtime import contract
from modelops_runtime.training import rendezvous as peers
from modelops_runtime.contract import ContractError
from modelops_runtime.training.stop import Stop

def main():
    index, count, port, what = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    peers.PATIENCE_SECONDS, peers.PING_SECONDS = 3.0, 0.3
    stop = Stop()
    stop.listen()
    here = peers.Peers("run", count, index, "localhost", port, stop, meeting_seconds=20)
    print("gift", here.meet(b"checkpoint" if index == 0 else b"").decode(), here.addresses, flush=True)
    if what == "done":
        print("reports", here.gather(f"from {index}".encode()), flush=True)
        here.finish()
        return
    while True:  # in training
        if stop.requested:
            here.announce_stop()
        if here.stopping is not None:
            print("stopping", here.stopping, flush=True)
            here.leave()
            raise ContractError("told", code=contract.Exit.PEER_LOST)
        time.sleep(0.05)

contract.run(main)
"""


@contextmanager
def workers(count: int, what: str) -> Iterator[list["subprocess.Popen[str]"]]:
    [port] = free_ports(1)
    started = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(index), str(count), str(port), what],
            env=environment(),
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in reversed(range(count))
    ][::-1]
    try:
        yield started
    finally:
        for process in started:
            process.kill()
            process.communicate()


def met(process: "subprocess.Popen[str]") -> str:
    assert process.stdout
    return process.stdout.readline()


@pytest.mark.parametrize("count", [2, 4])
def test_all_meet_get_the_chief_s_gift_and_end_together(count: int) -> None:
    with workers(count, "done") as started:
        outputs = [process.communicate(timeout=60)[0].splitlines() for process in started]
        assert [process.returncode for process in started] == [0] * count
    addresses = ["127.0.0.1"] * count
    assert {lines[0] for lines in outputs} == {f"gift checkpoint {addresses}"}
    assert outputs[0][1] == f"reports {[f'from {index}'.encode() for index in range(count)]}"
    assert {lines[1] for lines in outputs[1:]} == {"reports []"}


@pytest.mark.parametrize("lost", [0, 2])
def test_when_one_is_killed_the_others_leave_at_once_with_the_code_for_it(lost: int) -> None:
    with workers(3, "train") as started:
        for process in started:
            met(process)
        started[lost].kill()
        began = time.monotonic()
        others = [process for index, process in enumerate(started) if index != lost]
        errors = [process.communicate(timeout=30)[1] for process in others]
        assert [process.returncode for process in others] == [Exit.PEER_LOST] * 2
        assert time.monotonic() - began < 15
        assert f"error: worker {lost} is gone" in errors[0]


def test_a_worker_that_does_not_answer_is_lost() -> None:
    with workers(2, "train") as started:
        for process in started:
            met(process)
        os.kill(started[1].pid, signal.SIGSTOP)  # as a machine that vanished: nothing closes its connections
        _output, error = started[0].communicate(timeout=30)
        assert started[0].returncode == Exit.PEER_LOST
        assert "worker 1 does not answer" in error


def test_the_chief_hears_of_a_worker_that_is_told_to_stop() -> None:
    with workers(3, "train") as started:
        for process in started:
            met(process)
        started[2].terminate()
        output, _error = started[0].communicate(timeout=30)
        assert (started[0].returncode, output) == (Exit.PEER_LOST, "stopping 2\n")
        assert [process.wait(30) for process in started[1:]] == [Exit.PEER_LOST, Exit.TERMINATED]


def test_workers_that_do_not_come_are_named() -> None:
    peers = Peers("run", 3, 0, "localhost", free_ports(1)[0], Stop(), meeting_seconds=0.2)
    with pytest.raises(ContractError, match=r"worker 1, 2 of 3 did not come within 0\.2 s") as caught:
        peers.meet()
    assert caught.value.code == Exit.PEER_LOST


def test_a_chief_that_does_not_answer_is_named() -> None:
    peers = Peers("run", 2, 1, "localhost", free_ports(1)[0], Stop(), meeting_seconds=0.2)
    with pytest.raises(ContractError, match=r"worker 0 \(localhost:\d+\) did not answer within 0.2 s"):
        peers.meet()


def test_another_run_s_worker_is_not_let_in() -> None:
    [port] = free_ports(1)
    stranger = Peers("another", 2, 1, "localhost", port, Stop(), meeting_seconds=1)

    def call() -> None:
        with contextlib.suppress(ContractError):
            stranger.meet()

    calling = threading.Thread(target=call)
    calling.start()
    with pytest.raises(ContractError, match="worker 1 of 2 did not come"):
        Peers("run", 2, 0, "localhost", port, Stop(), meeting_seconds=2).meet()
    calling.join(20)
