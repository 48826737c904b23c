"""An upgrade of the library replaces nothing by surprise: what the last release made is made still, under its names.

`release.json` is what each component of the last release made. `make release` writes it anew, and nothing else does.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pulumi
import pytest

from tests.package.test_consumer import MINIMAL, children, make
from tests.unit.components.harness import Program, Resource, run

RELEASE = Path(__file__).with_name("release.json")
FILLED: dict[str, Mapping[str, Any]] = {
    "ModelService": {"autoscaling": {"max_replicas": 4}, "cache": {}, "serving_alias": "serving"},
    "MonitoringStack": {"web": {"tls": True}, "grafana": {"enabled": True, "admin_password": "long enough"}},
    "TrainingJob": {"workers": 2, "checkpoints": {"storage_size": "1Gi"}, "model_cache": {"storage_size": "1Gi"}},
}
"""Arguments beside the smallest ones, so that the optional objects are there too."""
FIXED = {
    "Deployment": ("spec.selector",),
    "DaemonSet": ("spec.selector",),
    "StatefulSet": ("spec.selector", "spec.serviceName", "spec.podManagementPolicy", "spec.volumeClaimTemplates"),
    "PersistentVolumeClaim": ("spec.accessModes", "spec.storageClassName", "spec.volumeMode"),
    "RoleBinding": ("roleRef",),
    "ClusterRoleBinding": ("roleRef",),
    "Service": ("spec.clusterIP",),
    "Secret": ("type", "immutable"),
    "ConfigMap": ("immutable",),
}
"""What Kubernetes never changes in an object: another value is another object."""
DELETED = {
    "modelops:index:MonitoringStack$modelops:monitoring:Elk$kubernetes:core/v1:Secret demo-elk-certificates-1",
    "pulumi:pulumi:Stack$modelops:index:MonitoringStack$kubernetes:core/v1:Secret demo-web-1",
    *(
        f"pulumi:pulumi:Stack$modelops:index:TrainingJob$kubernetes:rbac.authorization.k8s.io/v1:{kind} demo"
        for kind in ("Role", "RoleBinding")
    ),
}
"""What an upgrade deletes: the CHANGELOG says so."""
KEPT = "as it is"
"""In the place of what an upgrade leaves, whatever the program says now."""


def made_by(component: str) -> Program:
    more = FILLED.get(component, {})
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MINIMAL, component, {**MINIMAL[component], **more})
        return run(lambda: make(component, pulumi.ResourceOptions()))


def at(inputs: Any, path: str) -> Any:
    for key in path.split("."):
        inputs = inputs.get(key) if isinstance(inputs, Mapping) else None
    return inputs


def identity(found: Resource) -> dict[str, Any]:
    """What may not change while the object is to stay the same. Names that Pulumi makes up are its own affair."""
    paths = ("metadata.name", "metadata.namespace", *FIXED.get(found.type.split(":")[-1], ()))
    values = {path: KEPT if path in found.options["ignore_changes"] else at(found.inputs, path) for path in paths}
    return {path: value for path, value in values.items() if value is not None}


def stays(was: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether an object that was like that is the same object still."""
    kept = {path for path, value in now.items() if value == KEPT}
    # A name that the provider made up, and goes on making up.
    kept |= {path for path, value in was.items() if value == KEPT and path not in now}
    [before, after] = [{path: value for path, value in each.items() if path not in kept} for each in (was, now)]
    return before == after


def described(component: str) -> dict[str, Any]:
    """Everything a component makes, by types and name, with whatever would make it another object."""
    # As in a URN: the types of what it is in are part of its name.
    found = {
        f"{each.options['parent'].split('::')[2]}${each.type} {each.name}": identity(each)
        for each in children(made_by(component))
    }
    return dict(sorted(json.loads(json.dumps(found, default=str)).items()))


@pytest.fixture(scope="module")
def released() -> dict[str, Any]:
    if os.environ.get("RECORD_RELEASE"):
        found = {component: described(component) for component in sorted(MINIMAL)}
        RELEASE.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    return dict(json.loads(RELEASE.read_text()))


def test_a_release_is_recorded_with_every_component_that_it_had(released: dict[str, Any]) -> None:
    assert set(released) <= set(MINIMAL)
    assert all(len(objects) > (3 if name != "ModelImage" else 0) for name, objects in released.items())


@pytest.mark.parametrize("component", sorted(json.loads(RELEASE.read_text())) if RELEASE.exists() else sorted(MINIMAL))
def test_what_the_last_release_made_stays(component: str, released: dict[str, Any]) -> None:
    now = described(component)
    gone = sorted(set(released[component]) - set(now) - DELETED)
    assert gone == [], "give them aliases, or say in the CHANGELOG that an upgrade deletes them, and record it"
    others = {
        key: (was, now[key]) for key, was in released[component].items() if key in now and not stays(was, now[key])
    }
    assert others == {}, "an upgrade would replace these"
