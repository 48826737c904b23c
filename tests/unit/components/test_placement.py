"""How components fit a cluster: what is said of pods holds for every pod of every component, helpers included."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

import modelops
from modelops.core.types import PodArgs, Resources, ServiceMetadataArgs
from modelops.kubernetes.placement import CA_FILE, CA_VARIABLES, RESERVED_ANNOTATIONS, RESERVED_LABELS
from tests.package.test_consumer import MINIMAL
from tests.unit.components.harness import Program, Resource
from tests.unit.components.test_arguments import FIELDS, RICH, changed, made

REQUIRED_RULES = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED_RULES = "preferredDuringSchedulingIgnoredDuringExecution"


def requirement(**fields: Any) -> dict[str, Any]:
    """An affinity to nodes with one requirement."""
    terms = [{"matchExpressions": [{"key": "arch", **fields}]}]
    return {"affinity": {"nodeAffinity": {REQUIRED_RULES: {"nodeSelectorTerms": terms}}}}


PREFERRED = {
    "weight": 7,
    "preference": {"matchExpressions": [{"key": "example.com/gpu", "operator": "In", "values": ["h100"]}]},
}
WHERE: dict[str, Any] = {
    "node_selector": {"pool": "ml"},
    "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [PREFERRED]}},
    "topology_spread": [{"topology_key": "example.com/rack", "max_skew": 2}],
}
FIT: dict[str, Any] = {
    **WHERE,
    "tolerations": [{"key": "ml", "operator": "Exists"}],
    "priority_class": "high",
    "pod_labels": {"example.com/team": "ml", "sidecar.istio.io/inject": "false"},
    "pod_annotations": {"example.com/owner": "ml"},
    "environment": {"HTTPS_PROXY": "http://proxy.example.com:3128"},
    "ca_config_map": "cluster-ca",
    "image_pull_secret": "pull",
}
HELPERS: dict[str, Any] = {"helper_resources": {"cpu_limit": "1", "memory": "256Mi", "memory_limit": "300Mi"}}
SERVICES: dict[str, Any] = {
    "service_labels": {"example.com/team": "ml"},
    "service_annotations": {"networking.gke.io/load-balancer-type": "Internal"},
}
COMPONENTS = sorted(MINIMAL.keys() - {"ModelImage"})
CASES = [name for name, (component, _) in RICH.items() if component != "ModelImage"]


def pods(value: Any) -> Iterator[Mapping[str, Any]]:
    """Every pod template in a resource's inputs, in whatever kind of object."""
    if isinstance(value, Mapping):
        if "containers" in (value.get("spec") or {}):
            yield value
        for entry in value.values():
            yield from pods(entry)
    elif isinstance(value, list):
        for entry in value:
            yield from pods(entry)
    elif isinstance(value, str) and value.startswith("{") and '"containers"' in value:
        yield from pods(json.loads(value))


def every_pod(program: Program) -> Iterator[tuple[Resource, Mapping[str, Any]]]:
    for found in program.resources:
        for pod in pods(found.inputs):
            yield found, pod


def containers(pod: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [*pod["spec"]["containers"], *pod["spec"].get("initContainers", [])]


def with_arguments(name: str, **more: Any) -> Program:
    component, args = RICH[name]
    known = getattr(modelops, f"{component}Args").__annotations__
    return made(component, {**args, **{key: value for key, value in more.items() if key in known}})


def placed_elsewhere(found: Resource) -> bool:
    """Agents run on each node, and the watch of a training tells of nodes that aren't there."""
    return found.type.endswith(":DaemonSet") or found.inputs["metadata"]["labels"]["app.kubernetes.io/name"] == (
        "job-watch"
    )


@pytest.mark.parametrize("component", COMPONENTS)
def test_every_component_that_makes_pods_takes_the_same_arguments_for_them(component: str) -> None:
    taken = getattr(modelops, f"{component}Args").__annotations__
    assert PodArgs.__annotations__.items() <= taken.items()


@pytest.mark.parametrize("name", CASES)
def test_every_pod_of_every_component_carries_what_is_said_of_pods(name: str) -> None:
    program = with_arguments(name, **FIT)
    found_pods = list(every_pod(program))
    assert found_pods
    for found, pod in found_pods:
        spec, metadata, where = pod["spec"], pod["metadata"], f"{found.type} {found.name}"
        assert spec["priorityClassName"] == "high", where
        assert spec["imagePullSecrets"] == [{"name": "pull"}], where
        assert FIT["pod_labels"].items() <= metadata["labels"].items(), where
        assert FIT["pod_annotations"].items() <= metadata["annotations"].items(), where
        assert any(each.get("operator") == "Exists" for each in spec["tolerations"]), where
        for container in containers(pod):
            variables = {each["name"]: each.get("value") for each in container["env"]}
            assert variables["HTTPS_PROXY"] == "http://proxy.example.com:3128", where
            assert {variables[each] for each in CA_VARIABLES} == {CA_FILE}, where
            assert len(variables) == len(container["env"]), f"{where}: a variable is set twice"
            assert any(each["mountPath"] == CA_FILE.rpartition("/")[0] for each in container["volumeMounts"]), where
        assert any(each.get("configMap", {}).get("name") == "cluster-ca" for each in spec["volumes"]), where
        if placed_elsewhere(found):
            assert "nodeSelector" not in spec and "affinity" not in spec
            continue
        assert spec["nodeSelector"] == {"pool": "ml"}, where
        preferred = spec["affinity"]["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
        assert preferred == [PREFERRED], where
        (spread,) = [each for each in spec["topologySpreadConstraints"] if each["topologyKey"] == "example.com/rack"]
        assert spread["maxSkew"] == 2
        assert spread["labelSelector"]["matchLabels"].items() <= metadata["labels"].items(), where


@pytest.mark.parametrize("name", CASES)
def test_the_runtime_class_is_that_of_all_pods_or_of_those_that_use_devices(name: str) -> None:
    _, args = RICH[name]
    program = with_arguments(name, runtime_class="special")
    with_class = [pod["spec"].get("runtimeClassName") == "special" for _, pod in every_pod(program)]
    devices = json.dumps({key: value for key, value in args.items() if key in ("resources", "training", "vllm")})
    if '"gpus"' in devices or '"runtime": "vllm"' in json.dumps(args):
        assert any(with_class)
        for _, pod in every_pod(program):
            limits = [each.get("resources", {}).get("limits", {}) for each in containers(pod)]
            uses = any("nvidia.com/gpu" in each for each in limits) or "resourceClaims" in pod["spec"]
            assert uses == (pod["spec"].get("runtimeClassName") == "special")
    else:
        assert all(with_class)


@pytest.mark.parametrize("name", CASES)
def test_the_cluster_may_assign_the_users_of_all_pods(name: str) -> None:
    for found, pod in every_pod(with_arguments(name, assigned_user=True)):
        security = pod["spec"]["securityContext"]
        assert not {"runAsUser", "runAsGroup", "fsGroup"} & security.keys(), found.name
        if not found.name.endswith("filebeat"):
            assert security["runAsNonRoot"] is True


@pytest.mark.parametrize("name", CASES)
def test_what_the_library_sets_itself_is_left_to_it(name: str) -> None:
    """The rule that refuses its names covers all that it sets."""

    def reserved(key: str, domains: tuple[str, ...]) -> bool:
        return any(key.partition("/")[0].endswith(domain) for domain in domains)

    for found, pod in every_pod(with_arguments(name)):
        labels, annotations = (pod["metadata"].get(key, {}).keys() for key in ("labels", "annotations"))
        if containers(pod)[0]["name"] == "watch":  # Whatever else is in a mesh, these are not.
            labels, annotations = labels - {"sidecar.istio.io/inject"}, annotations - {"linkerd.io/inject"}
        assert all(reserved(key, RESERVED_LABELS) for key in labels), found.name
        assert all(reserved(key, RESERVED_ANNOTATIONS) for key in annotations), found.name


@pytest.mark.parametrize("component", COMPONENTS)
@pytest.mark.parametrize(
    ("field", "entry"),
    [
        ("pod_labels", "app.kubernetes.io/name"),
        ("pod_labels", "modelops.dev/track"),
        ("pod_labels", "adapter.modelops.dev/polite"),
        ("pod_annotations", "prometheus.io/port"),
        ("pod_annotations", "modelops.dev/content"),
        ("service_account_annotations", "pulumi.com/skipAwait"),
    ],
)
def test_labels_and_annotations_of_the_library_are_refused(component: str, field: str, entry: str) -> None:
    with pytest.raises(modelops.ArgumentsError, match=f"{field} is '{entry}', must not be one of .* library sets"):
        getattr(modelops, component)("demo", {**MINIMAL[component], field: {entry: "mine"}})


@pytest.mark.parametrize(
    ("args", "problem"),
    [
        ({"pod_labels": {"a b": "c"}}, "pod_labels is 'a b', must be a name such as example.com/team"),
        ({"pod_labels": {"team": "a b"}}, "pod_labels.team is 'a b', must be letters, digits"),
        ({"pod_labels": {"team": 64 * "a"}}, "at most 63 characters"),
        ({"tolerations": [{"effect": "Never"}]}, "tolerations[0].effect is 'Never'"),
        ({"affinity": {"podAfinity": {}}}, "affinity.podAfinity is not an argument; did you mean podA"),
        ({"affinity": {"nodeAffinity": []}}, "affinity.nodeAffinity is [], must be a mapping"),
        (
            {"affinity": {"podAffinity": {REQUIRED_RULES: [{"topologyKeys": "a"}]}}},
            "requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey is missing, it is required",
        ),
        (
            {
                "affinity": {
                    "podAntiAffinity": {PREFERRED_RULES: [{"weight": 0, "podAffinityTerm": {"topologyKey": ""}}]}
                }
            },
            "[0].weight is 0, must be 1 to 100",
        ),
        (
            {"affinity": {"nodeAffinity": {REQUIRED_RULES: {"nodeSelectorTerms": []}}}},
            "nodeSelectorTerms is [], must have a term",
        ),
        (requirement(operator="Is"), "operator is 'Is', must be one of In, NotIn, Exists, DoesNotExist, Gt, Lt"),
        (requirement(operator="In"), "values is missing, it is required with In"),
        (requirement(operator="Exists", values=["a"]), "values is ['a'], must not be given with Exists"),
        (requirement(operator="Gt", values=["a"]), "values is ['a'], must be one whole number with Gt"),
        ({"node_selector": {"dé": "ssd"}}, "node_selector is 'dé', must be a name such as example.com/team"),
        ({"node_selector": {"disk": "S S"}}, "node_selector.disk is 'S S', must be letters, digits"),
        ({"topology_spread": [{"topology_key": ""}]}, "topology_spread[0].topology_key is '', must be a name such as"),
        (
            {"tolerations": [{"key": "gpu", "operator": "Exists", "toleration_seconds": 30}]},
            "tolerations[0].effect is missing, it must be NoExecute with toleration_seconds",
        ),
        (
            {"tolerations": [{"key": "gpu", "operator": "Exists", "value": "a"}]},
            "tolerations[0].value is 'a', must not be given with operator Exists",
        ),
        (
            {"topology_spread": [{"topology_key": "zone"}, {"topology_key": "zone", "max_skew": 2}]},
            "topology_spread[1].topology_key is 'zone', must not be in two entries",
        ),
        ({"tolerations": [{"key": "a b"}]}, "tolerations[0].key is 'a b', must be a name such as"),
        (
            {"topology_spread": [{"topology_key": "zone", "max_skew": 0}]},
            "topology_spread[0].max_skew is 0, must be at",
        ),
        (
            {"topology_spread": [{"topology_key": "zone", "when_unsatisfiable": "Never"}]},
            "topology_spread[0].when_unsatisfiable is 'Never'",
        ),
        ({"environment": {"MODELOPS_PORT": "1"}}, "environment is 'MODELOPS_PORT', must be a variable name that"),
        ({"network": {"dns_ports": [0]}}, "network.dns_ports[0] is 0, must be 1 to 65535"),
        ({"network": {"cluster_domain": ".corp"}}, "network.cluster_domain is '.corp', must be a DNS domain"),
        ({"ca_config_map": ""}, "ca_config_map is '', must be an object's name"),
    ],
)
@pytest.mark.parametrize("component", COMPONENTS)
def test_mistakes_are_told_in_the_plan(component: str, args: dict[str, Any], problem: str) -> None:
    with pytest.raises(modelops.ArgumentsError) as caught:
        getattr(modelops, component)("demo", {**MINIMAL[component], **args})
    assert problem in str(caught.value)


@pytest.mark.parametrize("name", CASES)
def test_no_container_is_without_a_cpu_limit_once_all_resources_have_one(name: str) -> None:
    """A quota on CPU limits forbids the pods of any that has none."""
    component, args = RICH[name]
    for each, path, _, kind, _ in FIELDS:
        if each == component and kind is Resources and "secret" not in args.get(path[0], {}):
            args = changed(args, path, {**_at(args, path), "cpu_limit": "8"})
    for found, pod in every_pod(made(component, args)):
        for container in containers(pod):
            where = f"{found.name} {container['name']}"
            assert {"cpu", "memory"} <= container["resources"]["limits"].keys(), where


def _at(args: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        args = args.get(key, {})
    return args


@pytest.mark.parametrize("name", CASES)
def test_services_that_clients_reach_carry_what_is_said_of_them(name: str) -> None:
    component, _ = RICH[name]
    takes = ServiceMetadataArgs.__annotations__.items() <= getattr(modelops, f"{component}Args").__annotations__.items()
    program = with_arguments(name, **SERVICES)
    exposed = [
        found
        for found in program.of("core/v1:Service")
        if any(port.get("name") in ("http", "https") for port in found.inputs["spec"].get("ports", []))
        and found.name not in ("demo-elasticsearch",)
    ]
    assert bool(exposed) == takes
    for found in exposed:
        assert SERVICES["service_labels"].items() <= found.inputs["metadata"]["labels"].items()
        assert SERVICES["service_annotations"].items() <= found.inputs["metadata"]["annotations"].items()


@pytest.mark.parametrize("name", CASES)
def test_the_accounts_of_pods_that_may_reach_a_cloud_have_its_role(name: str) -> None:
    role = {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/ml"}
    program = with_arguments(name, service_account_annotations=role)
    for found in program.of("ServiceAccount"):
        of_the_cluster_only = found.name.endswith(("-postgres", "-watch"))
        assert found.inputs["metadata"].get("annotations") == (None if of_the_cluster_only else role), found.name


def test_own_affinity_and_the_component_s_hold_both() -> None:
    """A back-up runs on the server's node, and three Elasticsearch nodes in their zones, wherever else they must be."""
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    ours = {"matchExpressions": [{"key": "arch", "operator": "In", "values": ["arm64"]}]}
    other = {"matchExpressions": [{"key": "old", "operator": "Exists"}]}
    apart = {required: [{"topologyKey": "zone"}]}
    affinity = {"nodeAffinity": {required: {"nodeSelectorTerms": [ours, other]}}, "podAntiAffinity": apart}
    stack = with_arguments("MonitoringStack", affinity=affinity).one("StatefulSet")
    found = stack.inputs["spec"]["template"]["spec"]["affinity"]
    terms = found["nodeAffinity"][required]["nodeSelectorTerms"]
    assert [[rule["key"] for rule in term["matchExpressions"]] for term in terms] == [
        ["arch", "topology.kubernetes.io/zone"],
        ["old", "topology.kubernetes.io/zone"],
    ]
    assert len(found["podAntiAffinity"][required]) == 2
    args = {"namespace": "ml", "backup": {}, "affinity": affinity}
    backup = made("ModelRegistry", args).one("CronJob", "demo-backup").inputs
    found = backup["spec"]["jobTemplate"]["spec"]["template"]["spec"]["affinity"]
    assert found["nodeAffinity"] == affinity["nodeAffinity"]
    assert found["podAffinity"][required][0]["topologyKey"] == "kubernetes.io/hostname"


def test_a_spread_over_the_same_places_replaces_the_component_s_own() -> None:
    args = {**RICH["ModelService"][1], "topology_spread": [{"topology_key": "kubernetes.io/hostname", "max_skew": 3}]}
    spec = made("ModelService", args).one("Deployment", "demo").inputs["spec"]["template"]["spec"]
    (spread,) = spec["topologySpreadConstraints"]
    assert spread["maxSkew"] == 3


def test_helper_resources_are_those_of_helpers_only() -> None:
    args = {**RICH["ModelRegistry"][1], **HELPERS}
    spec = made("ModelRegistry", args).one("Deployment", "demo").inputs["spec"]["template"]["spec"]
    limits = {each["name"]: each["resources"]["limits"] for each in spec["containers"]}
    assert limits["metrics"] == {"cpu": "1", "memory": "300Mi"}
    assert limits["mlflow"] == {"memory": "1536Mi"}
