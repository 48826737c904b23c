"""How pods fit a cluster: what every component takes as `PodArgs`, checked and put into pod templates."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from modelops.core.conventions import is_object_name
from modelops.core.outputs import is_output, plain_or
from modelops.core.validation import Problems
from modelops.kubernetes.affinity import check_affinity
from modelops.kubernetes.metadata import check_label, check_label_value, check_metadata

core = k8s.core.v1

RESERVED_LABELS = ("app.kubernetes.io", "modelops.dev")
"""Domains of the labels that the library sets itself."""
RESERVED_ANNOTATIONS = ("modelops.dev", "prometheus.io", "pulumi.com")
CA_VOLUME, CA_FILE = "ca-certificates", "/etc/modelops/ca/ca.crt"
CA_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "AWS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS")
"""What OpenSSL and Python, requests, curl, the AWS SDKs and Node.js read."""
_WHERE = ("node_selector", "affinity", "topology_spread")
_SELECTING = ("app.kubernetes.io/name", "app.kubernetes.io/instance", "modelops.dev/track")


def check_pods(problems: Problems, args: Mapping[str, Any], *reserved: str) -> None:
    """The rules of `PodArgs`. `reserved` are further prefixes of variables that the component sets itself."""
    for field in ("priority_class", "runtime_class", "image_pull_secret", "ca_config_map"):
        problems.text(field, args.get(field))
    for name, template in (args.get("resource_claims") or {}).items():
        problems.dns_label("resource_claims", name)
        problems.object_name(f"resource_claims.{name}", template)
    _check_tolerations(problems, args.get("tolerations"))
    check_affinity(problems, args.get("affinity"))
    _check_spread(problems, args.get("topology_spread") or ())
    selector = args.get("node_selector")
    for name, value in (selector if isinstance(selector, Mapping) else {}).items():
        check_label(problems, "node_selector", name)
        check_label_value(problems, f"node_selector.{name}", value)
    check_metadata(problems, "pod_labels", args.get("pod_labels"), RESERVED_LABELS)
    check_metadata(problems, "pod_annotations", args.get("pod_annotations"), RESERVED_ANNOTATIONS)
    check_metadata(problems, "service_labels", args.get("service_labels"), RESERVED_LABELS)
    check_metadata(problems, "service_annotations", args.get("service_annotations"), RESERVED_ANNOTATIONS)
    accounts = "service_account_annotations"
    check_metadata(problems, accounts, args.get(accounts), RESERVED_ANNOTATIONS)
    problems.variable_names("environment", args.get("environment"), "MODELOPS_", *reserved)
    network = args.get("network")
    _check_network(problems, network if isinstance(network, Mapping) else {})


def _check_network(problems: Problems, network: Mapping[str, Any]) -> None:
    for field in ("dns_ports", "api_server_ports", "egress_ports"):
        for index, port in enumerate(network.get(field, ())):
            problems.number(f"network.{field}[{index}]", port, 1, 65_535)
    for index, family in enumerate(network.get("ip_families", ())):
        problems.choice(f"network.ip_families[{index}]", family, ("IPv4", "IPv6"))
    policies = ("SingleStack", "PreferDualStack", "RequireDualStack")
    problems.choice("network.ip_family_policy", network.get("ip_family_policy"), policies)
    domain = network.get("cluster_domain")
    if isinstance(domain, str) and not is_object_name(domain):
        problems.add("network.cluster_domain", domain, "must be a DNS domain in lower case, such as cluster.local")


def _check_tolerations(problems: Problems, tolerations: Any) -> None:
    for index, toleration in enumerate(tolerations if isinstance(tolerations, Sequence) else []):
        if not isinstance(toleration, Mapping):
            continue
        field = f"tolerations[{index}]"
        problems.choice(f"{field}.operator", toleration.get("operator"), ("Equal", "Exists"))
        problems.choice(f"{field}.effect", toleration.get("effect"), ("NoSchedule", "PreferNoSchedule", "NoExecute"))
        operator, effect = toleration.get("operator"), toleration.get("effect")
        if "key" not in toleration and operator != "Exists":
            problems.missing(f"{field}.key", "it is required unless operator is Exists")
        check_label(problems, f"{field}.key", toleration.get("key"))
        check_label_value(problems, f"{field}.value", toleration.get("value"))
        if toleration.get("value") and operator == "Exists":
            problems.add(f"{field}.value", toleration["value"], "must not be given with operator Exists")
        if "toleration_seconds" in toleration and effect is None:
            problems.missing(f"{field}.effect", "it must be NoExecute with toleration_seconds")
        elif "toleration_seconds" in toleration and effect != "NoExecute" and not is_output(effect):
            problems.add(f"{field}.effect", effect, "must be NoExecute with toleration_seconds")


def _check_spread(problems: Problems, entries: Sequence[Mapping[str, Any]]) -> None:
    present = set()
    for index, entry in enumerate(entries):
        field, unsatisfiable = f"topology_spread[{index}]", entry.get("when_unsatisfiable")
        problems.number(f"{field}.max_skew", entry.get("max_skew"), 1)
        check_label(problems, f"{field}.topology_key", entry.get("topology_key"))
        problems.choice(f"{field}.when_unsatisfiable", unsatisfiable, ("ScheduleAnyway", "DoNotSchedule"))
        rule = (entry.get("topology_key"), plain_or(unsatisfiable, None) or "ScheduleAnyway")
        if rule in present:
            problems.add(f"{field}.topology_key", rule[0], "must not be in two entries for the same pods")
        present.add(rule)


def _uses_devices(args: Mapping[str, Any]) -> bool:
    """Whether the component has pods that use GPUs or other devices. A number that isn't known counts as some."""
    resources = args.get("resources") or {}
    return bool(plain_or(resources.get("gpus"), 1) or resources.get("devices") or args.get("resource_claims"))


def _has_devices(container: core.ContainerArgs) -> bool:
    resources: Any = container.resources
    return bool((resources.limits or {}).keys() - {"cpu", "memory"} or resources.claims)


def anywhere(args: Mapping[str, Any]) -> Mapping[str, Any]:
    """The arguments for pods that don't run where the component's others do: on each node, or on whichever is there."""
    return {key: value for key, value in args.items() if key not in _WHERE}


def pod_fields(
    args: Mapping[str, Any], labels: Mapping[str, pulumi.Input[str]], own: Mapping[str, Any]
) -> dict[str, Any]:
    """Fields of PodSpecArgs by a component's arguments, joined with those that its pod has of its `own`."""
    containers = [*own["containers"], *(own.get("init_containers") or ())]
    with_devices = any(map(_has_devices, containers))
    joined = {
        "node_selector": args.get("node_selector"),
        "tolerations": own.get("tolerations") or _each(args.get("tolerations") or [], core.TolerationArgs),
        "affinity": _joined_affinity(args.get("affinity"), own.get("affinity")),
        "topology_spread_constraints": _spread(args.get("topology_spread") or (), labels, own),
        "priority_class_name": args.get("priority_class"),
        "runtime_class_name": args.get("runtime_class") if with_devices or not _uses_devices(args) else None,
        "resource_claims": [
            core.PodResourceClaimArgs(name=name, resource_claim_template_name=template)
            for name, template in (args.get("resource_claims", {}) if with_devices else {}).items()
        ],
        "image_pull_secrets": [core.LocalObjectReferenceArgs(name=args["image_pull_secret"])]
        if args.get("image_pull_secret") is not None
        else None,
    }
    fields = {**own, **_given(**joined)}
    for each in containers:
        _equip(each, args)
    if "ca_config_map" in args:
        source = core.ConfigMapVolumeSourceArgs(
            name=args["ca_config_map"], items=[core.KeyToPathArgs(key="ca.crt", path="ca.crt")]
        )
        fields["volumes"] = [*(fields.get("volumes") or ()), core.VolumeArgs(name=CA_VOLUME, config_map=source)]
    if args.get("assigned_user"):
        for field in ("run_as_user", "run_as_group", "fs_group"):
            setattr(fields["security_context"], field, None)
    return fields


def _given(**fields: Any) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value is not None and value != []}


def _equip(container: core.ContainerArgs, args: Mapping[str, Any]) -> None:
    """Gives a container the variables that it doesn't set itself, and the CA certificates."""
    variables: dict[str, pulumi.Input[str]] = dict(args.get("environment") or {})
    if "ca_config_map" in args:
        variables = {**dict.fromkeys(CA_VARIABLES, CA_FILE), **variables}
        mount = core.VolumeMountArgs(name=CA_VOLUME, mount_path=CA_FILE.rpartition("/")[0], read_only=True)
        container.volume_mounts = [*_list(container.volume_mounts), mount]
    present = _list(container.env)
    names = {variable.name for variable in present}
    further = [core.EnvVarArgs(name=name, value=value) for name, value in sorted(variables.items())]
    if further:
        container.env = [*present, *(variable for variable in further if variable.name not in names)]


def _list(entries: Any) -> list[Any]:
    return [] if entries is None else list(entries)


def _spread(
    entries: Sequence[Mapping[str, Any]], labels: Mapping[str, pulumi.Input[str]], own: Mapping[str, Any]
) -> list[core.TopologySpreadConstraintArgs]:
    """The arguments' constraints, and the pod's own on other keys: Kubernetes refuses two on one."""
    keys = {entry["topology_key"] for entry in entries}
    pods = {name: labels[name] for name in _SELECTING if name in labels}
    return [
        *(
            core.TopologySpreadConstraintArgs(
                topology_key=entry["topology_key"],
                max_skew=entry.get("max_skew", 1),
                when_unsatisfiable=entry.get("when_unsatisfiable", "ScheduleAnyway"),
                label_selector=k8s.meta.v1.LabelSelectorArgs(match_labels=pods),
                # A Deployment's new pods are spread without regard to the old ones.
                match_label_keys=["pod-template-hash"],
            )
            for entry in entries
        ),
        *(each for each in own.get("topology_spread_constraints") or () if each.topology_key not in keys),
    ]


def _joined_affinity(given: Any, own: Mapping[str, Any] | None) -> Any:
    """Both affinities, `own` in Kubernetes' own spelling too. Every rule of both holds."""
    if given is None or own is None:
        return own if given is None else given
    return pulumi.Output.all(given, own).apply(lambda values: _joined(*values))


def _joined(given: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    joined: dict[str, Any] = {**given}
    for kind, rules in own.items():
        present = joined.get(kind) or {}
        joined[kind] = {**present, **{rule: _both(present.get(rule), value) for rule, value in rules.items()}}
    return joined


def _both(given: Any, own: Any) -> Any:
    """Lists of rules hold together. Of the terms of a node selector one is enough, so each gets the other's rules."""
    if not given:
        return own
    if isinstance(own, Sequence):
        return [*given, *own]
    terms = [
        {key: [*first.get(key, ()), *second.get(key, ())] for key in {**first, **second}}
        for first in given["nodeSelectorTerms"]
        for second in own["nodeSelectorTerms"]
    ]
    return {"nodeSelectorTerms": terms}


def _each(entries: Any, kind: Callable[..., Any]) -> Any:
    """Each of the entries as a `kind` of the Kubernetes SDK; they, or all of them, may be outputs."""
    if is_output(entries):
        return pulumi.Output.from_input(entries).apply(lambda known: _each(known, kind))
    return [
        pulumi.Output.from_input(entry).apply(lambda known: kind(**known)) if is_output(entry) else kind(**entry)
        for entry in entries
    ]


def with_pod_metadata(
    labels: Mapping[str, pulumi.Input[str]],
    annotations: pulumi.Input[Mapping[str, pulumi.Input[str]] | None],
    args: Mapping[str, Any],
) -> k8s.meta.v1.ObjectMetaArgs:
    """A pod's labels and annotations: the component's own, and further ones of the arguments."""

    def joined(own: Any) -> Any:
        return {**(args.get("pod_annotations") or {}), **(own or {})} or None

    return k8s.meta.v1.ObjectMetaArgs(
        labels={**(args.get("pod_labels") or {}), **labels},
        annotations=pulumi.Output.from_input(annotations).apply(joined)
        if is_output(annotations)
        else joined(annotations),
    )


def with_service_metadata(metadata: k8s.meta.v1.ObjectMetaArgs, args: Mapping[str, Any]) -> k8s.meta.v1.ObjectMetaArgs:
    """An exposed Service's metadata, with the arguments' labels and annotations."""
    own: Any = metadata
    return k8s.meta.v1.ObjectMetaArgs(
        name=own.name,
        namespace=own.namespace,
        labels={**(args.get("service_labels") or {}), **(own.labels or {})},
        annotations={**(args.get("service_annotations") or {}), **(own.annotations or {})} or None,
    )
