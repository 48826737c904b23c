"""Check: the program's inputs, named, put in a namespace and normalized."""

from .. import refused
from ..cluster.connection import Cluster
from ..errors import Refused
from ..objects import annotations, kinds, naming
from ..objects.normalize import normalize
from ..objects.properties import Map, Unknown, from_object, to_object
from ..objects.secrets import annotate_secrets
from .host import Host
from .requests import Naming, Resource


def check(cluster: Cluster, host: Host, resource: Resource, olds: Map | None, news: Map, autonaming: Naming) -> Map:
    """The checked inputs. `olds` are those of an existing resource that stays, None for a new one."""
    feature = refused.refused_type(resource.type)
    if feature is not None:
        raise refused.refuse(feature)
    if cluster.unreachable and cluster.settings.skip_update_unreachable and olds:
        return olds
    inputs = normalize(to_object(news))
    if resource.is_patch and not naming.has_name(inputs):
        raise Refused("patch resources require the `.metadata.name` field to be set")
    if annotations.annotation(inputs, annotations.AUTONAMED):
        host.warn(resource.urn, f'ignoring user-specified value for internal annotation "{annotations.AUTONAMED}"')
    if olds:
        naming.adopt_name(inputs, to_object(olds))
    else:
        _name(inputs, resource, autonaming)
    if naming.generates_name(inputs):
        raise Refused("the `.metadata.generateName` field is not supported in Server-Side Apply mode")
    _assign_namespace(cluster, resource, inputs)
    checked = from_object(inputs)
    annotate_secrets(checked, news)
    return checked


def _name(inputs: Map, resource: Resource, autonaming: Naming) -> None:
    if autonaming.disabled and not naming.has_name(inputs):
        raise Refused("autonaming is disabled, resource requires the `.metadata.name` field to be set")
    naming.assign_name(inputs, resource.name, autonaming.seed, autonaming.proposed)


def _assign_namespace(cluster: Cluster, resource: Resource, inputs: Map) -> None:
    """Put `inputs` in the provider's namespace, unless they name one or their kind has none."""
    meta = inputs.setdefault("metadata", {})
    if not cluster.namespace or not isinstance(meta, dict):
        return
    if isinstance(meta.get("namespace"), Unknown) or meta.get("namespace"):
        return
    if _namespaced(cluster, resource.gvk):
        meta["namespace"] = cluster.namespace


def _namespaced(cluster: Cluster, gvk: kinds.GVK) -> bool:
    if gvk.known_scope is not None:
        return gvk.known_scope
    return True if cluster.unreachable else cluster.discovery.namespaced(gvk)


def set_default_namespace(cluster: Cluster, obj: Map, gvk: kinds.GVK) -> None:
    """Write out the namespace that `obj` is in by default, so that comparisons see no difference."""
    meta = obj.setdefault("metadata", {})
    if not isinstance(meta, dict) or isinstance(meta.get("namespace"), Unknown):
        return
    if _namespaced(cluster, gvk):
        meta["namespace"] = annotations.text(meta.get("namespace")) or "default"
    else:
        meta.pop("namespace", None)
