"""The shape of an affinity, in Kubernetes' own spelling, so that a plan refuses what the API server would."""

from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, TypedDict

import pulumi

from modelops.core.outputs import is_output
from modelops.core.validation import Problems, read_args
from modelops.kubernetes.metadata import check_label

Text = pulumi.Input[str]
Texts = pulumi.Input[Sequence[Text]]


_WITH_VALUES, _WITHOUT_VALUES, _WITH_NUMBER = ("In", "NotIn"), ("Exists", "DoesNotExist"), ("Gt", "Lt")


class _Requirement(TypedDict):
    key: Text
    operator: Text
    values: NotRequired[Texts]


class _Selector(TypedDict):
    matchLabels: NotRequired[pulumi.Input[Mapping[str, Text]]]
    matchExpressions: NotRequired[pulumi.Input[Sequence[pulumi.Input[_Requirement]]]]


class _NodeTerm(TypedDict):
    matchExpressions: NotRequired[pulumi.Input[Sequence[pulumi.Input[_Requirement]]]]
    matchFields: NotRequired[pulumi.Input[Sequence[pulumi.Input[_Requirement]]]]


class _NodeTerms(TypedDict):
    nodeSelectorTerms: pulumi.Input[Sequence[pulumi.Input[_NodeTerm]]]


class _PreferredNodes(TypedDict):
    weight: pulumi.Input[int]
    preference: pulumi.Input[_NodeTerm]


class _NodeAffinity(TypedDict):
    requiredDuringSchedulingIgnoredDuringExecution: NotRequired[pulumi.Input[_NodeTerms]]
    preferredDuringSchedulingIgnoredDuringExecution: NotRequired[pulumi.Input[Sequence[pulumi.Input[_PreferredNodes]]]]


class _PodTerm(TypedDict):
    topologyKey: Text
    labelSelector: NotRequired[pulumi.Input[_Selector]]
    namespaceSelector: NotRequired[pulumi.Input[_Selector]]
    namespaces: NotRequired[Texts]
    matchLabelKeys: NotRequired[Texts]
    mismatchLabelKeys: NotRequired[Texts]


class _PreferredPods(TypedDict):
    weight: pulumi.Input[int]
    podAffinityTerm: pulumi.Input[_PodTerm]


class _PodAffinity(TypedDict):
    requiredDuringSchedulingIgnoredDuringExecution: NotRequired[pulumi.Input[Sequence[pulumi.Input[_PodTerm]]]]
    preferredDuringSchedulingIgnoredDuringExecution: NotRequired[pulumi.Input[Sequence[pulumi.Input[_PreferredPods]]]]


class _Affinity(TypedDict):
    nodeAffinity: NotRequired[pulumi.Input[_NodeAffinity]]
    podAffinity: NotRequired[pulumi.Input[_PodAffinity]]
    podAntiAffinity: NotRequired[pulumi.Input[_PodAffinity]]


def check_affinity(problems: Problems, affinity: object) -> None:
    """Checks the names and kinds of all fields, and the values that have rules."""
    if isinstance(affinity, Mapping):
        _check_values(problems, "affinity", read_args(affinity, _Affinity, problems, "affinity"))


def _check_values(problems: Problems, field: str, value: Any) -> None:
    if isinstance(value, Mapping):
        problems.number(f"{field}.weight", value.get("weight"), 1, 100)
        check_label(problems, f"{field}.topologyKey", value.get("topologyKey"))
        if value.get("nodeSelectorTerms") == []:
            problems.add(f"{field}.nodeSelectorTerms", [], "must have a term")
        if "operator" in value:
            _check_requirement(problems, field, value)
        for name, entry in value.items():
            _check_values(problems, f"{field}.{name}", entry)
    elif isinstance(value, list):
        for index, entry in enumerate(value):
            _check_values(problems, f"{field}[{index}]", entry)


def _check_requirement(problems: Problems, field: str, requirement: Mapping[str, Any]) -> None:
    operator, values = requirement.get("operator"), requirement.get("values")
    check_label(problems, f"{field}.key", requirement.get("key"))
    problems.choice(f"{field}.operator", operator, [*_WITH_VALUES, *_WITHOUT_VALUES, *_WITH_NUMBER])
    if operator in _WITH_VALUES and not values:
        problems.missing(f"{field}.values", f"it is required with {operator}")
    if operator in _WITHOUT_VALUES and values:
        problems.add(f"{field}.values", values, f"must not be given with {operator}")
    if operator in _WITH_NUMBER and isinstance(values or [], list) and not _is_number(values):
        problems.add(f"{field}.values", values, f"must be one whole number with {operator}")


def _is_number(values: Any) -> bool:
    return bool(values) and len(values) == 1 and (is_output(values[0]) or str(values[0]).removeprefix("-").isdecimal())
