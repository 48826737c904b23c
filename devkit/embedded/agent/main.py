"""Runs the controllers: list, reconcile, watch for changes, again."""

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from devkit.embedded.agent import load_balancer, volumes
from devkit.embedded.agent.api import Api, ApiError, Object

PAUSE_AFTER_ERROR_SECONDS = 1.0


def main() -> None:
    """Arguments: kubeconfig, folder for volumes, file to create once every controller has seen its objects."""
    kubeconfig, folder, ready = (Path(argument) for argument in sys.argv[1:4])
    api = Api(kubeconfig)
    ready.unlink(missing_ok=True)
    seen = [threading.Event() for _ in range(3)]
    controllers: list[tuple[str, Callable[[list[Object]], None]]] = [
        (load_balancer.SERVICES, lambda items: load_balancer.reconcile(api, items)),
        (volumes.CLAIMS, lambda items: _claims(api, items, folder)),
        (volumes.VOLUMES, lambda items: volumes.reconcile_volumes(api, items, folder)),
    ]
    for (path, reconcile), event in zip(controllers, seen, strict=True):
        threading.Thread(target=_forever, args=(api, path, reconcile, event), daemon=True).start()
    for event in seen:
        event.wait()
    ready.touch()
    threading.Event().wait()


def _claims(api: Api, items: list[Object], folder: Path) -> None:
    volumes.reconcile_claims(api, items, folder)
    volumes.reconcile_sizes(api, items)


def _forever(api: Api, path: str, reconcile: Callable[[list[Object]], None], seen: threading.Event) -> None:
    while True:
        try:
            _once(api, path, reconcile, seen)
        except (ApiError, OSError, KeyError, ValueError) as problem:
            print(f"{path}: {type(problem).__name__}: {problem}", flush=True)
            time.sleep(PAUSE_AFTER_ERROR_SECONDS)


def _once(api: Api, path: str, reconcile: Callable[[list[Object]], None], seen: threading.Event) -> None:
    """One list and the watch that follows it, with the objects by uid."""
    listed = api.call("GET", path)
    objects = {item["metadata"]["uid"]: item for item in listed["items"]}
    reconcile(list(objects.values()))
    seen.set()
    for event in api.watch(path, listed["metadata"]["resourceVersion"]):
        item = event["object"]
        if event["type"] == "DELETED":
            objects.pop(item["metadata"]["uid"], None)
        else:
            objects[item["metadata"]["uid"]] = item
        reconcile(list(objects.values()))
