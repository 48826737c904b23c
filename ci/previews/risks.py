"""What a reviewer has to know first: what a preview would do, and its risks."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from previews import diffs
from previews.reading import Preview, Step
from previews.stores import holds_data

LEVELS = ("policy", "data", "traffic", "job", "workload", "access")
"""Kinds of risk, the worst first."""

_VOLUMES = {"PersistentVolumeClaim", "PersistentVolume", "Namespace", "StatefulSet", "CustomResourceDefinition"}
_ROUTES = {"Service", "Ingress", "HTTPRoute", "GRPCRoute", "TCPRoute", "Gateway", "TrafficSplit", "VirtualService"}
_WORKLOADS = {"Deployment", "StatefulSet", "DaemonSet", "LeaderWorkerSet"}
_JOBS = {"Job", "CronJob", "JobSet", "TrainJob"}
_ACCESS = {"NetworkPolicy", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding", "Secret", "ServiceAccount"}
_LOST = {
    "Namespace": "everything in it goes with it",
    "CustomResourceDefinition": "every object of that kind goes with it",
    "StatefulSet": "its pods stop; its volumes stay only where its claims are retained",
    "Release": "everything that its chart deployed goes with it",
    "ResourceGroup": "everything in it goes with it",
    "Project": "everything in it goes with it",
}
_MODEL = "MODELOPS_MODEL_URI"
"""Environment variable of a serving container that names its model."""
_PUBLISHED_AS = (
    "MODELOPS_RUN_ID",
    "MODELOPS_MODEL_NAME",
    "MLFLOW_TRACKING_URI",
    "app.kubernetes.io/version",
    "modelops.dev/after",
)
"""What decides whether a registry has a run: variables, the label with its identity, the Job before it that failed."""
_TRAINS, _PROMOTES = "modelops:index:TrainingJob", "modelops:index:ModelPromotion"
_NAMED = 3


@dataclass(frozen=True)
class Risk:
    """A change that can do harm."""

    level: str
    text: str
    urn: str = ""
    blocking: bool = True
    """Whether the update fails on it, for policies."""

    @property
    def order(self) -> tuple[int, bool, str, str]:
        """Sorts the worst first."""
        return LEVELS.index(self.level), not self.blocking, self.urn, self.text


def is_build(step: Step) -> bool:
    """Whether the step builds an image."""
    return step.kind == "Image" and step.type.split(":")[0] in ("docker-build", "docker") and step.op != "delete"


def is_training(step: Step) -> bool:
    """Whether the step starts a training run."""
    return _runs(step, _TRAINS) and not is_judgement(step) and not _selects(step)


def is_background(step: Step) -> bool:
    """Whether it is a training run for which the update doesn't wait (`wait: false`)."""
    return is_training(step) and _waits_for(step) == "jsonpath={.metadata.uid}"


def _waits_for(step: Step) -> Any:
    """What Pulumi waits for in an object, where it is told."""
    found: Any = step.new.get("inputs")
    for key in ("metadata", "annotations", "pulumi.com/waitFor"):
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


def is_promotion(step: Step) -> bool:
    """Whether the step brings a model version from another environment."""
    return _runs(step, _PROMOTES) and not is_judgement(step)


def is_judgement(step: Step) -> bool:
    """Whether the step only judges a run that is in the registry already: the Job before did its work for it."""
    if step.op != "replace" or not (_runs(step, _TRAINS) or _runs(step, _PROMOTES)):
        return False
    if step.old.get("initErrors") and not _selects(step):
        return False
    return not any(word in path for path in diffs.leaves(step) for word in _PUBLISHED_AS)


def _selects(step: Step) -> bool:
    """Whether it is the Job that registers the best run of a sweep, which trains nothing."""
    return _has_container(step, "select")


def _has_container(step: Step, name: str) -> bool:
    found: Any = step.new.get("inputs")
    for key in ("spec", "template", "spec", "containers"):
        found = found.get(key) if isinstance(found, Mapping) else None
    return any(isinstance(each, Mapping) and each.get("name") == name for each in found or ())


def _runs(step: Step, component: str) -> bool:
    """Whether the step starts a Job for which the component is there, not one that watches it."""
    made = step.kind in _JOBS and component in step.parents and step.op in ("create", "replace")
    return made and not _has_container(step, "watch")


def rolls(step: Step) -> bool:
    """Whether the step rolls out new pods of a workload."""
    if step.kind not in _WORKLOADS or step.op != "update" or step.refreshed:
        return False
    return any(path.startswith("spec.template") for path in (*step.changed, *diffs.leaves(step)))


def summary(preview: Preview) -> str:
    """One line: what will be built, trained, rolled, replaced, deleted, created and changed."""
    if preview.errors:
        return "the preview failed"
    steps = [step for step in preview.steps if step.custom]
    if not preview.steps:
        return f"nothing changes ({preview.unchanged} resources)"
    if any(step.refreshed for step in preview.steps):
        changed, gone = ([step for step in steps if step.op == op] for op in ("update", "delete"))
        words = [f"{len(changed)} changed {_names(changed)}"] if changed else []
        words += [f"{len(gone)} gone {_names(gone)}"] if gone else []
        return f"drift: {', '.join(words)}" if words else "no drift"
    parts = []
    for verb, noun, test in (
        ("builds", "image", is_build),
        ("trains", "run", lambda step: is_training(step) and not is_background(step)),
        ("trains in the background", "run", is_background),
        ("promotes", "version", is_promotion),
        ("judges", "run", is_judgement),
        ("rolls", "workload", rolls),
    ):
        if matching := [step for step in steps if test(step)]:
            parts.append(f"{verb} {_plural(len(matching), noun)} {_names(matching)}")
    for verb, op in (("replaces", "replace"), ("deletes", "delete"), ("adopts", "import"), ("creates", "create")):
        if count := sum(1 for step in steps if step.op == op and not step.leftover):
            parts.append(f"{verb} {count}")
    if count := sum(1 for step in steps if step.leftover):
        parts.append(f"removes {_plural(count, 'leftover')} of an interrupted update")
    if count := sum(1 for step in steps if step.op == "update" and not rolls(step)):
        parts.append(f"changes {count}")
    return ", ".join(parts) if parts else "changes components only"


def risks(preview: Preview) -> list[Risk]:
    """All risks, the worst first."""
    all_risks = [
        Risk("policy", f"{v.level} policy {v.policy} on {v.resource}: {v.message}", blocking=v.level == "mandatory")
        for v in preview.violations
    ]
    for step in preview.steps:
        all_risks += _risks(step)
    return sorted(set(all_risks), key=lambda risk: risk.order)


def _risks(step: Step) -> Iterable[Risk]:
    what, urn = f"{step.kind} {step.name}", step.urn
    if step.refreshed:
        if step.op == "delete":
            where = " from the cluster" if step.type.startswith("kubernetes:") else ""
            yield Risk(_level(step), f"{what} is gone{where}; the next `up` recreates it", urn)
        elif _has_data(step) or step.kind in _ROUTES | _WORKLOADS | _ACCESS:
            yield Risk(_level(step), f"{what} was changed outside of Pulumi ({_abbreviated(diffs.leaves(step))})", urn)
        return
    if step.op == "delete":
        yield from _deletion(step, what)
    elif step.op == "replace":
        yield from _replacement(step, what)
    elif step.op == "update":
        yield from _update(step, what)


def _deletion(step: Step, what: str) -> Iterable[Risk]:
    if step.leftover:
        what = f"what an interrupted update left of {what}"
    if step.old.get("protect") and not step.leftover:
        yield Risk(_level(step), f"{what} is protected: deleting it makes the update fail", step.urn)
    elif step.old.get("retainOnDelete"):
        where = " in the cluster" if step.type.startswith("kubernetes:") else ""
        yield Risk(_level(step), f"{what} leaves the stack and stays{where}", step.urn)
    elif _has_data(step):
        yield Risk("data", f"{what} is deleted: {_LOST.get(step.kind, 'its data is lost')}", step.urn)
    elif step.kind in _ROUTES | _JOBS | _WORKLOADS | _ACCESS:
        yield Risk(_level(step), f"{what} is deleted", step.urn)
    elif step.type.startswith("pulumi:providers:"):
        yield Risk("workload", f"provider {step.name} is deleted", step.urn)


def _replacement(step: Step, what: str) -> Iterable[Risk]:
    reason = f" ({_abbreviated(step.reasons)})" if step.reasons else ""
    if step.old.get("protect"):
        yield Risk(_level(step), f"{what} is protected: replacing it makes the update fail{reason}", step.urn)
    elif _has_data(step):
        yield Risk("data", f"{what} is replaced{reason}: {_LOST.get(step.kind, 'the new one starts empty')}", step.urn)
    elif step.kind in _ROUTES:
        yield Risk("traffic", f"{what} is replaced{reason}: its address may change", step.urn)
    elif is_background(step):
        goes_on = "a new training run, in the background: the version stays until an `up` after it is published"
        yield Risk("job", f"{what} is replaced{reason}: {goes_on}; the old Job is removed, trained or not", step.urn)
    elif is_training(step):
        yield Risk("job", f"{what} is replaced{reason}: a new training run; the old Job is removed", step.urn)
    elif is_judgement(step):
        yield Risk(
            "job", f"{what} is replaced{reason}: its gate judges the published run, nothing is trained", step.urn
        )
    elif step.kind in _JOBS | _WORKLOADS:
        yield Risk(_level(step), f"{what} is replaced{reason}: its pods stop", step.urn)
    elif step.kind in ("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"):
        yield Risk("access", f"{what} is replaced{reason}", step.urn)
    elif step.type.startswith("pulumi:providers:"):
        yield Risk("workload", f"provider {step.name} is replaced{reason}, and everything it manages with it", step.urn)


def _update(step: Step, what: str) -> Iterable[Risk]:
    changed = diffs.leaves(step)
    if step.kind == "PersistentVolumeClaim" and "spec.resources.requests.storage" in changed:
        old, new = changed["spec.resources.requests.storage"]
        yield Risk("data", f"{what} is resized from {old} to {new}: a volume never shrinks again", step.urn)
    if step.kind in _ROUTES and any(path.startswith("spec") or "weight" in path for path in changed):
        yield Risk("traffic", f"{what} moves traffic ({_abbreviated(changed)})", step.urn)
    for path, (old, new) in changed.items():
        if step.kind in _WORKLOADS and path.endswith(f".{_MODEL}.value"):
            yield Risk("traffic", f"{what} serves {new} instead of {old}", step.urn)
    if step.kind in _WORKLOADS and "spec.replicas" in changed:
        old, new = changed["spec.replicas"]
        if isinstance(old, int | float) and isinstance(new, int | float) and new < old:
            yield Risk("traffic", f"{what} goes from {old} to {new} replicas", step.urn)
    if step.kind in ("Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding", "NetworkPolicy"):
        yield Risk("access", f"{what} changes ({_abbreviated(changed or step.changed)})", step.urn)


def _has_data(step: Step) -> bool:
    return step.kind in _VOLUMES or step.type.startswith("kubernetes:helm.sh/v3:Release") or holds_data(step.type)


def _level(step: Step) -> str:
    if _has_data(step):
        return "data"
    for level, kinds in (("traffic", _ROUTES), ("job", _JOBS), ("workload", _WORKLOADS)):
        if step.kind in kinds:
            return level
    return "access" if step.kind in _ACCESS else "workload"


def _abbreviated(paths: Iterable[str]) -> str:
    names = sorted(paths)
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


def _names(steps: list[Step]) -> str:
    return f"({_abbreviated(step.name for step in steps)})"


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
