"""The loops that wait until an object is ready, or gone."""

import threading
import time
from collections.abc import Callable

from ..cluster.client import Client
from ..cluster.connection import Cluster
from ..cluster.discovery import Discovery
from ..errors import ApiError, NoMatchError, PartialFailure, Unreachable
from ..objects import annotations, kinds
from .base import Awaiter, Feed, Object, Verdict, at
from .watching import Follower, View

_SELF = "self"
_RECHECK_SECONDS = 1.0
"""A wait judges again at least this often: some verdicts depend on time alone."""

Status = Callable[[str], None]


class Waiter:
    """Waits on one cluster, until it is cancelled."""

    def __init__(self, client: Client, discovery: Discovery, cancelled: threading.Event) -> None:
        self._client = client
        self._discovery = discovery
        self._cancelled = cancelled

    def until_ready(self, awaiter: Awaiter, *, timeout_seconds: float, status: Status, warn: Status) -> None:
        """Return when the object is ready. Raises PartialFailure when it fails, time is up, or on cancellation.

        Meanwhile warnings that the cluster records about the object are passed to `warn`.
        """
        view = View()
        feeds = awaiter.feeds()
        self._follow_self(view, awaiter.first)
        for feed in feeds:
            self._follow(view, feed, awaiter.first, awaiter.observe)
        events = Feed(
            "events", "v1", "Event", field_selector=f"involvedObject.uid={at(awaiter.first, 'metadata', 'uid')}"
        )
        self._follow(view, events, awaiter.first, lambda _feed, event: _pass_on(event, warn))
        try:
            self._wait_ready(view, awaiter, [_SELF, *(feed.name for feed in feeds)], timeout_seconds, status)
        finally:
            view.stopped.set()

    def _wait_ready(self, view: View, awaiter: Awaiter, names: list[str], timeout: float, status: Status) -> None:
        deadline = time.monotonic() + timeout
        verdict, current, seen = Verdict(), awaiter.first, 0
        name = annotations.name(awaiter.first)
        while True:
            if view.filled(names):
                objects = view.of(_SELF)
                current = objects[0] if objects else current
                if objects:
                    verdict = awaiter.judge(current, {feed: view.of(feed) for feed in names})
                if verdict.ready:
                    return
                if verdict.failed:
                    raise PartialFailure(
                        f"Resource '{name}' was created but failed to initialize", current, verdict.reasons
                    )
                if verdict.status:
                    status(verdict.status)
            if self._cancelled.is_set():
                raise PartialFailure(f'Resource operation was cancelled for "{name}"', current, verdict.reasons)
            left = deadline - time.monotonic()
            if left <= 0:
                raise PartialFailure(f"'{name}' timed out waiting to be Ready", current, verdict.reasons)
            seen = view.wait(seen, min(left, _RECHECK_SECONDS))

    def judge_once(self, awaiter: Awaiter) -> Verdict:
        """The verdict on the object as it is now, without a wait."""
        awaiter.patient = False
        related: dict[str, list[Object]] = {}
        for feed in awaiter.feeds():
            listing = self._client.list_objects(
                self._collection(feed, awaiter.first),
                label_selector=feed.label_selector,
                field_selector=feed.field_selector,
            )
            kind = {"apiVersion": feed.api_version, "kind": feed.kind}
            related[feed.name] = [{**kind, **item} for item in listing.get("items") or []]
            for obj in related[feed.name]:
                awaiter.observe(feed.name, obj)
        return awaiter.judge(awaiter.first, related)

    def until_gone(self, obj: Object, path: str, *, timeout_seconds: float, status: Status) -> None:
        """Return when the object at `path` is no longer there, or is another one of the same name."""
        deadline = time.monotonic() + timeout_seconds
        uid, name, pause, current = at(obj, "metadata", "uid"), annotations.name(obj), 0.05, obj
        while True:
            try:
                current = self._client.get(path)
            except ApiError as error:
                if error.not_found:
                    return
                raise
            if uid and at(current, "metadata", "uid") != uid:
                return
            phase = at(current, "status", "phase")
            status(f'{obj.get("kind")} "{name}" still exists' + (f" ({phase})" if phase else ""))
            if self._cancelled.is_set():
                raise PartialFailure(f'Resource operation was cancelled for "{name}"', current)
            if time.monotonic() >= deadline:
                raise PartialFailure(f"'{name}' timed out waiting to be deleted", current, _finalizers(current))
            self._cancelled.wait(pause)
            pause = min(pause * 1.5, 1.0)

    def _follow_self(self, view: View, obj: Object) -> None:
        resource = self._discovery.lookup_object(obj)
        namespace = annotations.namespace(obj)
        selector = f"metadata.name={annotations.name(obj)}"
        Follower(view, _SELF, self._client, resource.collection(namespace), field_selector=selector).start()

    def _collection(self, feed: Feed, obj: Object) -> str:
        gvk = kinds.of_object({"apiVersion": feed.api_version, "kind": feed.kind})
        return self._discovery.lookup(gvk).collection(annotations.namespace(obj))

    def _follow(self, view: View, feed: Feed, obj: Object, observe: Callable[[str, Object], None]) -> None:
        try:
            path = self._collection(feed, obj)
        except (NoMatchError, Unreachable, ApiError):
            view.replace(feed.name, [])
            return
        Follower(view, feed.name, self._client, path, feed.label_selector, feed.field_selector, observe).start()


def waiter_for(cluster: Cluster) -> Waiter:
    """A waiter on `cluster`. Raises Unreachable."""
    return Waiter(cluster.client, cluster.discovery, cluster.cancelled)


def _pass_on(event: Object, warn: Status) -> None:
    """Passes a warning on. Other events are left out, as in the official provider."""
    if event.get("type") == "Warning":
        warn(f"{event.get('reason')}: {event.get('message')}")


def _finalizers(obj: Object) -> list[str]:
    finalizers = at(obj, "metadata", "finalizers")
    return [f"finalizers might be preventing deletion ({', '.join(finalizers)})"] if finalizers else []
