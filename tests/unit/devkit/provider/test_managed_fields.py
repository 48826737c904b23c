"""Ownership of fields."""

from typing import Any

from devkit.pulumi_plugins.kubernetes_provider.objects.managed_fields import owners, take_over


def _entry(manager: str, operation: str, fields: dict[str, Any], **more: str) -> dict[str, Any]:
    return {"manager": manager, "operation": operation, "fieldsV1": fields, **more}


def _live(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"resourceVersion": "7", "managedFields": list(entries)}}


_MINE = _entry("mine", "Apply", {"f:spec": {"f:replicas": {}}})


def test_owners_are_told_apart() -> None:
    other = _entry("autoscaler", "Update", {"f:spec": {"f:replicas": {}, "f:paused": {}}})
    live = _live(_MINE, other)
    assert owners(live, ["spec", "replicas"], "mine") == (True, True)
    assert owners(live, ["spec", "paused"], "mine") == (False, True)
    assert owners(live, ["spec", "other"], "mine") == (False, False)


def test_fields_of_kubectl_are_merged_into_ours() -> None:
    label = _entry("kubectl-label", "Update", {"f:metadata": {"f:labels": {"f:a": {}}}})
    stranger = _entry("somebody", "Update", {"f:data": {}})
    replace, version = take_over(_live(_MINE, label, stranger), "mine")
    assert replace["value"] == [
        stranger,
        _entry("mine", "Apply", {"f:spec": {"f:replicas": {}}, "f:metadata": {"f:labels": {"f:a": {}}}}),
    ]
    assert version["value"] == "7"


def test_without_fields_of_ours_theirs_become_ours() -> None:
    created = _entry("kubectl-create", "Update", {"f:data": {"f:a": {}}})
    assert take_over(_live(created), "mine")[0]["value"] == [_entry("mine", "Apply", {"f:data": {"f:a": {}}})]


def test_statuses_and_strangers_are_left_alone() -> None:
    scaled = _entry("kubectl", "Update", {"f:spec": {"f:replicas": {}}}, subresource="scale")
    assert take_over(_live(_MINE, scaled, _entry("somebody", "Update", {})), "mine") == []
