"""Following objects while somebody waits for them, with a recorded server."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from devkit.pulumi_plugins.kubernetes_provider.awaiting.base import Awaiter, Feed, Object, Verdict
from devkit.pulumi_plugins.kubernetes_provider.awaiting.waiting import Waiter
from devkit.pulumi_plugins.kubernetes_provider.awaiting.watching import Follower, View
from devkit.pulumi_plugins.kubernetes_provider.cluster.discovery import Discovery
from devkit.pulumi_plugins.kubernetes_provider.errors import ApiError, PartialFailure


def _object(state: str, version: str = "1", name: str = "x") -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "ns", "resourceVersion": version, "uid": "u"},
        "state": state,
    }


class RecordedServer:
    """A client that answers from a record."""

    def __init__(self, states: list[str], *, forbidden: tuple[str, ...] = ()) -> None:
        self._states = states
        self._forbidden = forbidden
        self._gone = 0
        self._events = [
            {"metadata": {"name": "a"}, "type": "Warning", "reason": "Waiting", "message": "for a node"},
            {"metadata": {"name": "b"}, "type": "Normal", "reason": "Pulled", "message": "the image"},
        ]

    def get(self, path: str) -> Object:
        if path == "/api/v1":
            kinds = [("pods", "Pod"), ("secrets", "Secret"), ("events", "Event")]
            return {"resources": [{"name": name, "kind": kind, "namespaced": True} for name, kind in kinds]}
        self._gone += 1
        if self._gone > 2:
            raise ApiError(404, "not found")
        return _object("going")

    def list_objects(self, path: str, **selectors: str) -> Object:
        if path.split("/")[-1] in self._forbidden:
            raise ApiError(403, "forbidden")
        if path.endswith("/events"):
            assert selectors["field_selector"] == "involvedObject.uid=u"
            return {
                "kind": "EventList",
                "apiVersion": "v1",
                "metadata": {"resourceVersion": "9"},
                "items": self._events,
            }
        items = [_object(self._states[0])]
        return {"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": items}

    def watch(self, path: str, **arguments: Any) -> Iterator[tuple[str, Object]]:
        later = int(arguments["resource_version"])
        for number, state in enumerate(self._states[later:], later + 1):
            yield "MODIFIED", _object(state, str(number))
        time.sleep(0.02)


class StateAwaiter(Awaiter):
    """Judges by the recorded state."""

    def feeds(self) -> list[Feed]:
        return [Feed("secrets", "v1", "Secret")]

    def judge(self, obj: Object, related: Any) -> Verdict:
        state = obj["state"]
        return Verdict(ready=state == "ready", failed=state == "failed", status=state, reasons=[f"it is {state}"])


def _waiter(server: Any, cancelled: threading.Event | None = None) -> Waiter:
    return Waiter(server, Discovery(server), cancelled or threading.Event())


def test_a_wait_ends_when_the_object_is_ready() -> None:
    said: list[str] = []
    server = RecordedServer(["starting", "nearly", "ready"])
    _waiter(server).until_ready(StateAwaiter(_object("starting")), timeout_seconds=30, status=said.append, warn=print)
    assert set(said) <= {"starting", "nearly"}


def test_warnings_about_the_object_are_shown_while_it_is_waited_for() -> None:
    said: list[str] = []
    waiter, awaiter = _waiter(RecordedServer(["starting"])), StateAwaiter(_object("starting"))
    with pytest.raises(PartialFailure):
        waiter.until_ready(awaiter, timeout_seconds=1, status=print, warn=said.append)
    assert said == ["Waiting: for a node"]


def test_a_wait_ends_at_once_when_the_object_fails() -> None:
    with pytest.raises(PartialFailure) as raised:
        awaiter = StateAwaiter(_object("starting"))
        _waiter(RecordedServer(["starting", "failed"])).until_ready(
            awaiter, timeout_seconds=30, status=print, warn=print
        )
    assert raised.value.reasons == ["it is failed"] and raised.value.object["state"] == "failed"


def test_a_wait_ends_when_time_is_up_or_when_cancelled() -> None:
    for cancelled, message in ((False, "timed out"), (True, "cancelled")):
        event = threading.Event()
        if cancelled:
            event.set()
        with pytest.raises(PartialFailure, match=message):
            waiter = _waiter(RecordedServer(["starting"]), event)
            waiter.until_ready(StateAwaiter(_object("starting")), timeout_seconds=0.3, status=print, warn=print)


def test_related_objects_that_may_not_be_seen_do_not_stop_a_wait() -> None:
    server = RecordedServer(["ready"], forbidden=("secrets",))
    _waiter(server).until_ready(StateAwaiter(_object("starting")), timeout_seconds=30, status=print, warn=print)


def test_a_deletion_ends_when_the_object_is_gone() -> None:
    server = RecordedServer([])
    _waiter(server).until_gone(_object("going"), "/api/v1/namespaces/ns/pods/x", timeout_seconds=30, status=print)


def test_another_object_of_the_same_name_is_not_the_one_that_goes() -> None:
    server = RecordedServer([])
    old = _object("going")
    old["metadata"]["uid"] = "before"
    _waiter(server).until_gone(old, "/api/v1/namespaces/ns/pods/x", timeout_seconds=0, status=print)


def test_every_state_is_observed_though_the_view_keeps_the_last() -> None:
    view, seen = View(), list[str]()
    server: Any = RecordedServer(["a", "b", "c"])
    Follower(view, "pods", server, "/api/v1/pods", observe=lambda feed, obj: seen.append(obj["state"])).start()
    deadline = time.monotonic() + 20
    while [obj["state"] for obj in view.of("pods")] != ["c"] and time.monotonic() < deadline:
        time.sleep(0.01)
    view.stopped.set()
    assert seen == ["a", "b", "c"] and view.of("pods")[0]["state"] == "c"
