"""Keeps a set of objects up to date while a wait needs them."""

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from ..cluster.client import Client
from ..errors import ApiError, Unreachable
from .base import Object, at

_SILENCE_SECONDS = 5.0
"""How long a watch listens before it checks whether it is still needed."""


class View:
    """The current objects of some collections. Feeds fill it; the waiting thread reads it."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._objects: dict[str, dict[str, Object]] = {}
        self._changes = 0
        self.stopped = threading.Event()

    def replace(self, feed: str, objects: list[Object]) -> None:
        """Set all objects of a feed."""
        with self._condition:
            self._objects[feed] = {_key(obj): obj for obj in objects}
            self._bump()

    def change(self, feed: str, event: str, obj: Object) -> None:
        """Take one change."""
        with self._condition:
            objects = self._objects.setdefault(feed, {})
            if event == "DELETED":
                objects.pop(_key(obj), None)
            else:
                objects[_key(obj)] = obj
            self._bump()

    def _bump(self) -> None:
        self._changes += 1
        self._condition.notify_all()

    def wake(self) -> None:
        """Wake the waiting thread."""
        with self._condition:
            self._bump()

    def wait(self, seen: int, seconds: float) -> int:
        """Wait until something changed after `seen`, at most `seconds`; returns the number of changes so far."""
        with self._condition:
            self._condition.wait_for(lambda: self._changes != seen, seconds)
            return self._changes

    def filled(self, feeds: list[str]) -> bool:
        """Whether every feed has been read at least once."""
        with self._condition:
            return all(feed in self._objects for feed in feeds)

    def of(self, feed: str) -> list[Object]:
        """The current objects of a feed."""
        with self._condition:
            return list(self._objects.get(feed, {}).values())


def _key(obj: Object) -> str:
    return f"{at(obj, 'metadata', 'namespace')}/{at(obj, 'metadata', 'name')}"


@dataclass
class Follower:
    """Keeps one feed of a view up to date until the view is stopped."""

    view: View
    feed: str
    client: Client
    path: str
    label_selector: str = ""
    field_selector: str = ""
    observe: Callable[[str, Object], None] = lambda feed, obj: None
    """Called with every state, including those that the view no longer has."""

    def start(self) -> None:
        """Follow in a thread of its own."""
        thread = threading.Thread(target=self._run, name=f"follow {self.feed} {self.path}", daemon=True)
        # While the process ends no thread can be started, and none is needed.
        with suppress(RuntimeError):
            thread.start()

    def _run(self) -> None:
        version = ""
        while not self.view.stopped.is_set():
            try:
                version = self._listen(version or self._list())
            except (ApiError, Unreachable) as error:
                version = ""
                if isinstance(error, ApiError) and error.forbidden:
                    # A user who may not list pods can still wait for their Deployment.
                    self.view.replace(self.feed, [])
                self.view.wake()
                self.view.stopped.wait(1.0)

    def _list(self) -> str:
        """List all objects; returns the list's resource version."""
        listing = self.client.list_objects(
            self.path, label_selector=self.label_selector, field_selector=self.field_selector
        )
        items = _items(listing)
        for obj in items:
            self.observe(self.feed, obj)
        self.view.replace(self.feed, items)
        return str(at(listing, "metadata", "resourceVersion") or "")

    def _listen(self, version: str) -> str:
        """Take changes until there is silence; returns the version to go on from, empty to list all again."""
        for event, obj in self.client.watch(
            self.path,
            resource_version=version,
            label_selector=self.label_selector,
            field_selector=self.field_selector,
            read_seconds=_SILENCE_SECONDS,
        ):
            if self.view.stopped.is_set():
                return version
            if event == "ERROR":
                # Usually because the version is too old.
                return ""
            version = str(at(obj, "metadata", "resourceVersion") or version)
            if event != "BOOKMARK":
                self.observe(self.feed, obj)
                self.view.change(self.feed, event, obj)
        return version


def _items(listed: Object) -> list[Object]:
    # Items of a list carry neither their version nor their kind.
    kind = str(listed.get("kind") or "").removesuffix("List")
    return [{"apiVersion": listed.get("apiVersion"), "kind": kind, **item} for item in listed.get("items") or []]
