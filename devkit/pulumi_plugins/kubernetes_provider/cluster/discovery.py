"""The paths of each kind's objects on the server. Queried group by group, only when needed, and cached."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import ApiError, NoMatchError
from ..objects import annotations, kinds
from ..objects.kinds import GVK
from .client import Client, segment


@dataclass(frozen=True)
class ApiResource:
    """Where the API serves the objects of one kind."""

    base: str
    """`/api/v1` or `/apis/GROUP/VERSION`."""
    plural: str
    namespaced: bool

    def collection(self, namespace: str) -> str:
        """The path of the kind's objects in a namespace; of all of them when it is empty."""
        if self.namespaced and namespace:
            return f"{self.base}/namespaces/{segment(namespace)}/{self.plural}"
        return f"{self.base}/{self.plural}"

    def object(self, namespace: str, name: str) -> str:
        """The path of one object. A namespaced kind without a namespace means `default`."""
        return f"{self.collection(namespace or 'default')}/{segment(name)}"


class Discovery:
    """The kinds that a server knows."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._versions: dict[str, dict[str, ApiResource]] = {}

    def reset(self) -> None:
        """Clear the cache: a definition was added or removed."""
        with self._lock:
            self._versions.clear()

    def lookup(self, gvk: GVK) -> ApiResource:
        """Where objects of `gvk` are served. Raises NoMatchError when the server does not know it."""
        with self._lock:
            resources = self._versions.get(gvk.api_version)
            if resources is None or gvk.kind not in resources:
                resources = self._fetch(gvk)
                # A version that is missing may come with the next definition: not cached.
                if resources:
                    self._versions[gvk.api_version] = resources
        if gvk.kind not in resources:
            raise NoMatchError(gvk.api_version, gvk.kind)
        return resources[gvk.kind]

    def lookup_object(self, obj: Mapping[str, Any]) -> ApiResource:
        """Where objects of `obj`'s kind are served."""
        return self.lookup(kinds.of_object(obj))

    def path_of(self, obj: Mapping[str, Any], name: str = "") -> str:
        """The path of `obj`."""
        return self.lookup_object(obj).object(annotations.namespace(obj), name or annotations.name(obj))

    def collection_of(self, obj: Mapping[str, Any]) -> str:
        """The path of the collection that `obj` is created in."""
        return self.lookup_object(obj).collection(annotations.namespace(obj) or "default")

    def knows(self, gvk: GVK) -> bool:
        """Whether the server knows the kind."""
        try:
            self.lookup(gvk)
        except NoMatchError:
            return False
        return True

    def namespaced(self, gvk: GVK) -> bool:
        """Whether objects of the kind have a namespace. An unknown kind counts as namespaced."""
        if gvk.known_scope is not None:
            return gvk.known_scope
        try:
            return self.lookup(gvk).namespaced
        except NoMatchError:
            return True

    def _fetch(self, gvk: GVK) -> dict[str, ApiResource]:
        base = f"/apis/{gvk.api_version}" if gvk.group else f"/api/{gvk.version}"
        try:
            listing = self._client.get(base)
        except ApiError as error:
            if error.not_found:
                return {}
            raise
        return {
            entry["kind"]: ApiResource(base, entry["name"], bool(entry.get("namespaced")))
            for entry in listing.get("resources") or []
            # Subresources (`pods/log`) have kinds of their own, or their parent's again.
            if "/" not in entry["name"]
        }
