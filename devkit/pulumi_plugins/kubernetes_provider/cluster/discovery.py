"""Where the objects of a kind live on the server. Asked group by group, only when needed, and remembered."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import ApiError, NoMatchError
from ..objects import annotations, kinds
from ..objects.kinds import GVK
from .client import Client, segment


@dataclass(frozen=True)
class Place:
    """Where the objects of one kind are."""

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
        self._versions: dict[str, dict[str, Place]] = {}

    def reset(self) -> None:
        """Forget everything: a definition came or went."""
        with self._lock:
            self._versions.clear()

    def place(self, gvk: GVK) -> Place:
        """Where objects of `gvk` are. Raises NoMatchError when the server does not know it."""
        with self._lock:
            known = self._versions.get(gvk.api_version)
            if known is None or gvk.kind not in known:
                known = self._fetch(gvk)
                # A version that is not there yet may come with the next definition: not remembered.
                if known:
                    self._versions[gvk.api_version] = known
        if gvk.kind not in known:
            raise NoMatchError(gvk.api_version, gvk.kind)
        return known[gvk.kind]

    def place_of(self, obj: Mapping[str, Any]) -> Place:
        """Where `obj` is."""
        return self.place(kinds.of_object(obj))

    def path_of(self, obj: Mapping[str, Any], name: str = "") -> str:
        """The path of `obj`."""
        return self.place_of(obj).object(annotations.namespace(obj), name or annotations.name(obj))

    def knows(self, gvk: GVK) -> bool:
        """Whether the server knows the kind."""
        try:
            self.place(gvk)
        except NoMatchError:
            return False
        return True

    def namespaced(self, gvk: GVK) -> bool:
        """Whether objects of the kind have a namespace. A kind nobody knows yet is taken for namespaced."""
        if gvk.known_scope is not None:
            return gvk.known_scope
        try:
            return self.place(gvk).namespaced
        except NoMatchError:
            return True

    def _fetch(self, gvk: GVK) -> dict[str, Place]:
        base = f"/apis/{gvk.api_version}" if gvk.group else f"/api/{gvk.version}"
        try:
            listed = self._client.get(base)
        except ApiError as error:
            if error.not_found:
                return {}
            raise
        return {
            entry["kind"]: Place(base, entry["name"], bool(entry.get("namespaced")))
            for entry in listed.get("resources") or []
            # Subresources (`pods/log`) have kinds of their own, or their parent's again.
            if "/" not in entry["name"]
        }
