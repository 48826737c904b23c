"""Diff: what a change of inputs means for the object."""

from collections.abc import Sequence

from ..awaiting.jobs import job_verdict
from ..cluster.connection import Cluster
from ..errors import ApiError, NoMatchError, Unreachable
from ..objects import annotations, checkpoint, kinds, naming
from ..objects.normalize import normalize, prune
from ..objects.properties import Map, to_object
from .changes import Change, changes, path_text, without_ignored
from .check import set_default_namespace
from .host import Host
from .replacement import immutable_fields, replaces
from .requests import Difference, Resource

_UNREADY_PATH = f'.metadata.annotations["{annotations.REPLACE_UNREADY}"]'


def diff(
    cluster: Cluster, host: Host, resource: Resource, state: Map, news: Map, ignore_changes: Sequence[str]
) -> Difference:
    """What changes when the object of `state` gets the inputs `news`."""
    last, live = checkpoint.unpack(state)
    last, new = normalize(last), normalize(to_object(news))
    old = prune(live, last)
    for obj in (old, new, last):
        set_default_namespace(cluster, obj, kinds.of_object(new))
    if annotations.name(new):
        old["metadata"]["name"] = annotations.name(live)
    changed = without_ignored(changes(old, new, last, built_in=kinds.of_object(new).built_in), ignore_changes)
    fields = immutable_fields(new, cluster.settings)
    kinds_of_change = {path_text(change.path): _kind(change, fields) for change in changed}
    replaced = [path for path, kind in kinds_of_change.items() if kind.endswith("_REPLACE")]
    if annotations.is_true(new, annotations.REPLACE_UNREADY) and _unready(cluster, host, resource, live):
        replaced.append(_UNREADY_PATH)
    return Difference(
        changes=kinds_of_change,
        replaces=replaced,
        delete_before_replace=bool(replaced) and _same_name(new, live),
    )


def _kind(change: Change, fields: Sequence[str]) -> str:
    return f"{change.kind}_REPLACE" if replaces(change.path, change.value, fields) else change.kind


def _same_name(new: Map, live: Map) -> bool:
    """Whether a replacement would collide with the old object: the program named it, and name and namespace stay."""
    return (
        naming.has_name(new)
        and not naming.is_autonamed(new)
        and annotations.name(new) == annotations.name(live)
        and annotations.namespace(new) == annotations.namespace(live)
    )


def _unready(cluster: Cluster, host: Host, resource: Resource, live: Map) -> bool:
    """Whether a Job with the replaceUnready annotation is to be replaced because it has not succeeded."""
    if cluster.unreachable:
        host.warn(resource.urn, "Cluster is unreachable, skipping replaceUnready check")
        return False
    if live.get("kind") != "Job":
        host.warn(resource.urn, "replaceUnready annotation is not supported for this resource")
        return False
    try:
        job = cluster.client.get(cluster.discovery.path_of(live))
    except (ApiError, NoMatchError, Unreachable):
        return False
    return not job_verdict(job).ready
