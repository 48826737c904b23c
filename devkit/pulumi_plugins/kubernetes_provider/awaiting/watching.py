"""Keeps a set of objects up to date while somebody waits for them."""

import threading
from collections.abc import Callable
from contextlib import suppress

from ..client import Client
from ..errors import ApiError, Unreachable
from .base import Object, at

_SILENCE_SECONDS = 5.0
"""How long a watch listens before it looks whether it is still needed."""


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
            known = self._objects.setdefault(feed, {})
            if event == "DELETED":
                known.pop(_key(obj), None)
            else:
                known[_key(obj)] = obj
            self._bump()

    def _bump(self) -> None:
        self._changes += 1
        self._condition.notify_all()

    def wake(self) -> None:
        """Make a waiting thread look again."""
        with self._condition:
            self._bump()

    def wait(self, seen: int, seconds: float) -> int:
        """Wait until something changed after `seen`, at most `seconds`; what has been seen then."""
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


def follow(
    view: View,
    feed: str,
    client: Client,
    path: str,
    *,
    label_selector: str = "",
    field_selector: str = "",
    observe: Callable[[str, Object], None] = lambda feed, obj: None,
) -> None:
    """Start a thread that keeps `feed` up to date until the view is stopped. `observe` sees every state."""

    def listen(version: str) -> str:
        for event, obj in client.watch(
            path,
            resource_version=version,
            label_selector=label_selector,
            field_selector=field_selector,
            read_seconds=_SILENCE_SECONDS,
        ):
            if view.stopped.is_set():
                return version
            if event == "ERROR":
                # Most often: the version is too old. Read everything again.
                return ""
            version = str(at(obj, "metadata", "resourceVersion") or version)
            if event != "BOOKMARK":
                observe(feed, obj)
                view.change(feed, event, obj)
        return version

    def run() -> None:
        version = ""
        while not view.stopped.is_set():
            try:
                if not version:
                    listed = client.list_objects(path, label_selector=label_selector, field_selector=field_selector)
                    items = _items(listed)
                    for obj in items:
                        observe(feed, obj)
                    view.replace(feed, items)
                    version = str(at(listed, "metadata", "resourceVersion") or "")
                version = listen(version)
            except (ApiError, Unreachable) as error:
                version = ""
                if isinstance(error, ApiError) and error.forbidden:
                    # Who may not look at pods can still wait for their Deployment.
                    view.replace(feed, [])
                view.wake()
                view.stopped.wait(1.0)

    thread = threading.Thread(target=run, name=f"follow {feed} {path}", daemon=True)
    with suppress(RuntimeError):
        thread.start()


def _items(listed: Object) -> list[Object]:
    # Items of a list carry neither their version nor their kind.
    kind = str(listed.get("kind") or "").removesuffix("List")
    return [{"apiVersion": listed.get("apiVersion"), "kind": kind, **item} for item in listed.get("items") or []]
