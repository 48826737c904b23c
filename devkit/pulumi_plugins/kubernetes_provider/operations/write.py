"""Create, and Update by server-side apply; then the wait for readiness."""

import contextlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..awaiting import awaiter_for
from ..awaiting.waiting import waiter_for
from ..cluster.connection import Cluster
from ..errors import ApiError, NoMatchError, PartialFailure, Unreachable
from ..objects import annotations, checkpoint, kinds, naming
from ..objects.managed_fields import entries, owners, take_over
from ..objects.normalize import normalize
from ..objects.properties import Map, has_unknown, to_object
from .changes import parse_path
from .host import Host
from .requests import Resource, Written

_TRIES = 5
_OWN_MANAGERS = ("pulumi-resource-kubernetes", "pulumi-kubernetes")


class Writer:
    """Writes objects of one cluster."""

    def __init__(self, cluster: Cluster, host: Host) -> None:
        self._cluster = cluster
        self._host = host

    def create(self, resource: Resource, news: Map, timeout: float, *, preview: bool) -> Written:
        """Create the object; in a preview, have the server show the result by a dry run."""
        inputs = to_object(news)
        if preview and not self._can_show(resource, inputs):
            return Written("", news)
        manager = self._field_manager({}, inputs)
        try:
            written = self._apply_new(resource, inputs, manager, preview=preview)
        except ApiError as error:
            # One that exists may be what this one replaces.
            if preview and (error.forbidden or error.missing_namespace or error.already_exists):
                return Written("", news)
            raise
        if kinds.is_crd(inputs) and not preview:
            # So that the next custom resource finds its kind.
            self._cluster.discovery.reset()
        return self._finish(resource, inputs, news, written, None, timeout, manager=manager, preview=preview)

    def update(
        self, resource: Resource, state: Map, news: Map, timeout: float, ignore: Sequence[str], *, preview: bool
    ) -> Written:
        """Change the object in place."""
        inputs = normalize(to_object(news))
        if preview and not self._can_show(resource, inputs):
            return Written(resource.id, news)
        _, old = checkpoint.unpack(state)
        manager = self._field_manager(state, inputs)
        api_version = checkpoint.text_of(state, checkpoint.API_VERSION)
        path = self._cluster.discovery.path_of(inputs, annotations.name(old))
        last = self._cluster.client.get(path)
        try:
            written = self._apply_change(resource, path, last, inputs, manager, ignore, preview=preview)
        except ApiError as error:
            if preview and error.forbidden:
                return Written(resource.id, news)
            if preview:
                raise
            # The object is unchanged: keep its state with the error, so that the next update tries again.
            problem = f"update of resource failed: {self._explain(error, manager)}"
            return self._written(inputs, news, last, manager, api_version, problem=problem)
        return self._finish(
            resource, inputs, news, written, last, timeout, manager=manager, preview=preview, api_version=api_version
        )

    def _can_show(self, resource: Resource, inputs: Map) -> bool:
        """Whether a dry run can show the result. What a patch is for may only be made in the same update."""
        if resource.is_patch or has_unknown(inputs) or self._cluster.unreachable:
            return False
        return self._cluster.discovery.knows(kinds.of_object(inputs))

    def _field_manager(self, state: Map, inputs: Map) -> str:
        return (
            annotations.annotation(inputs, annotations.FIELD_MANAGER)
            or checkpoint.text_of(state, checkpoint.FIELD_MANAGER)
            or f"pulumi-kubernetes-{naming.random_suffix()}"
        )

    def _apply_new(self, resource: Resource, inputs: Map, manager: str, *, preview: bool) -> Map:
        client, discovery = self._cluster.client, self._cluster.discovery
        # A patch has no old object of its own.
        force = _forced(inputs, preview)

        def send(obj: Map) -> Map:
            if not (resource.is_patch or self._cluster.settings.upsert_existing_objects):
                return client.create(discovery.collection_of(obj), obj, field_manager=manager, dry_run=preview)
            path = discovery.path_of(obj)
            if resource.is_patch:
                client.get(path)  # applied to nothing, it would make a new object
            return client.apply(path, obj, field_manager=manager, force=force, dry_run=preview)

        def attempt() -> Map:
            try:
                return send(inputs)
            except ApiError as error:
                if not (preview and error.immutable_field):
                    raise
                # A replacement can't be tried under the old object's name.
                name = f"{annotations.name(inputs)}{naming.random_suffix()[:5]}"
                return send({**inputs, "metadata": {**inputs["metadata"], "name": name}})

        try:
            return self._retry(resource, attempt, preview=preview)
        except ApiError as error:
            if error.conflict:
                raise self._explain(error, manager) from error
            raise

    def _retry(self, resource: Resource, attempt: Callable[[], Map], *, preview: bool) -> Map:
        """Try several times: the namespace or the kind may be about to appear."""
        pause = 0.5
        for number in range(1, _TRIES + 1):
            try:
                return attempt()
            except (ApiError, NoMatchError) as error:
                final = isinstance(error, ApiError) and (not error.not_found or (preview and error.missing_namespace))
                if final or number == _TRIES or self._cluster.cancelled.is_set():
                    raise
                self._host.status(resource.urn, f"Retry #{number}; creation failed: {error}")
                self._cluster.discovery.reset()
            if self._cluster.cancelled.wait(pause):
                raise Unreachable("cancelled")
            pause = min(pause * 2, 8.0)
        raise AssertionError("unreachable")

    def _apply_change(
        self,
        resource: Resource,
        path: str,
        last: Map,
        inputs: Map,
        manager: str,
        ignore: Sequence[str],
        *,
        preview: bool,
    ) -> Map:
        client = self._cluster.client
        if kinds.is_crd(inputs):
            meta = {**inputs["metadata"], "resourceVersion": last["metadata"]["resourceVersion"]}
            return client.replace(path, {**inputs, "metadata": meta}, field_manager=manager, dry_run=preview)
        # Of a patched object, what others wrote stays theirs.
        if not preview and not resource.is_patch and (operations := take_over(last, manager)):
            last = client.patch(path, operations)
        _keep_ignored(inputs, last, manager, ignore)
        force = _forced(inputs, preview, last)
        return client.apply(path, inputs, field_manager=manager, force=force, dry_run=preview)

    @staticmethod
    def _explain(error: ApiError, manager: str) -> ApiError:
        if not error.conflict:
            return error
        message = (
            "Server-Side Apply field conflict detected. The resource managed by field manager "
            f'"{manager}" had an apply conflict: {error.message}'
        )
        return ApiError(error.code, message, reason=error.reason, details=error.details)

    def _finish(
        self,
        resource: Resource,
        inputs: Map,
        news: Map,
        written: Map,
        last: Map | None,
        timeout: float,
        *,
        manager: str,
        preview: bool,
        api_version: str = "",
    ) -> Written:
        api_version = api_version or str(inputs.get("apiVersion") or "")
        if preview:
            # An empty status would be taken for the final one.
            if last is None:
                written.pop("status", None)
            return self._written(inputs, news, written, manager, api_version, preview=True)
        try:
            self._wait(resource, inputs, written, last, timeout)
        except PartialFailure as failure:
            return self._written(
                inputs, news, failure.object, manager, api_version, problem=str(failure), reasons=failure.reasons
            )
        live = written
        with contextlib.suppress(ApiError, Unreachable):
            live = self._cluster.client.get(self._cluster.discovery.path_of(written))
        self._host.status(resource.urn, "")
        return self._written(inputs, news, live, manager, api_version)

    def _wait(self, resource: Resource, inputs: Map, written: Map, last: Map | None, timeout: float) -> None:
        try:
            awaiter = awaiter_for(inputs, written, last)
        except ValueError as error:
            raise PartialFailure(str(error), written) from error
        if awaiter is not None:
            seconds = annotations.timeout_seconds(inputs, timeout, awaiter.default_timeout_seconds)
            waiter_for(self._cluster).until_ready(
                awaiter,
                timeout_seconds=seconds,
                status=lambda line: self._host.status(resource.urn, line),
                warn=lambda line: self._host.status_warning(resource.urn, line),
            )
        if kinds.is_crd(inputs):
            self._wait_established(written)

    def _wait_established(self, definition: Map) -> None:
        # Custom resources of the same update come next; the definition is served a moment after it is stored.
        deadline = time.monotonic() + 30
        path = self._cluster.discovery.path_of(definition)
        while time.monotonic() < deadline and not self._cluster.cancelled.is_set():
            states = (self._cluster.client.get(path).get("status") or {}).get("conditions") or []
            if any(state.get("type") == "Established" and state.get("status") == "True" for state in states):
                return
            self._cluster.cancelled.wait(0.1)

    def _written(
        self,
        inputs: Map,
        news: Map,
        live: Map,
        manager: str,
        api_version: str,
        *,
        problem: str = "",
        reasons: Sequence[str] = (),
        preview: bool = False,
    ) -> Written:
        state = checkpoint.pack(inputs, live, news, api_version=api_version, field_manager=manager)
        return Written("" if preview else annotations.full_name(live), state, problem=problem, reasons=list(reasons))


def _forced(inputs: Map, preview: bool, last: Map | None = None) -> bool:
    """Whether to take over fields that others own."""
    if annotations.is_true(inputs, annotations.PATCH_FORCE):
        return True
    if (named := os.environ.get("PULUMI_K8S_ENABLE_PATCH_FORCE")) is not None:
        return named == "true"
    if not preview:
        return False
    if last is None:
        # This may be a replacement: the old object's fields are no conflict.
        return True
    # What the provider created itself, an update takes over before it applies; a preview writes nothing.
    return any(
        entry.get("operation") == "Update" and str(entry.get("manager")).startswith(_OWN_MANAGERS)
        for entry in entries(last)
    )


def _keep_ignored(inputs: Map, last: Map, manager: str, ignore: Sequence[str]) -> None:
    """Keep the fields that `ignore_changes` names: left out where only others own them, else with their live values."""
    for text in ignore:
        path = parse_path(text)
        mine, theirs = owners(last, path, manager)
        if theirs and not mine:
            _remove(inputs, path)
            continue
        exists, value = _lookup(last, path)
        if exists:
            _put(inputs, path, value)


def _lookup(obj: Any, path: Sequence[str]) -> tuple[bool, Any]:
    for step in path:
        if not isinstance(obj, Mapping) or step not in obj:
            return False, None
        obj = obj[step]
    return True, obj


def _remove(obj: Any, path: Sequence[str]) -> None:
    exists, parent = _lookup(obj, path[:-1])
    if exists and isinstance(parent, dict):
        parent.pop(path[-1], None)


def _put(obj: Any, path: Sequence[str], value: Any) -> None:
    for step in path[:-1]:
        if not isinstance(obj, dict):
            return
        obj = obj.setdefault(step, {})
    if isinstance(obj, dict):
        obj[path[-1]] = value
