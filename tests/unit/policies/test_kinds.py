"""Which kinds the rules look into, and what is no problem in charts of others."""

from typing import Any

import pytest
import yaml

from modelops_policies import RESOURCE_RULES, STACK_RULES, Level, Resource

RULES = {rule.name: rule for rule in (*RESOURCE_RULES, *STACK_RULES)}
BAD = {"spec": {"containers": [{"name": "web", "image": "web:1", "securityContext": {"privileged": True}}]}}


def problems(rule: str, type_: str, inputs: dict[str, Any], *others: Resource) -> list[str]:
    resource = Resource(f"kubernetes:{type_}", "web", inputs)
    return list(RULES[rule].check(resource, [resource, *others]))


def resources(manifest: str) -> list[Resource]:
    """A manifest's objects, as Pulumi registers them."""
    return [
        Resource(
            f"kubernetes:{found['apiVersion'].removeprefix('v1')}:{found['kind']}", found["metadata"]["name"], found
        )
        for found in yaml.safe_load_all(manifest)
    ]


def broken(manifest: str) -> set[tuple[str, str]]:
    """Mandatory rules that a manifest breaks, each with the object."""
    stack = resources(manifest)
    rules = [rule for rule in RULES.values() if rule.level is Level.MANDATORY]
    return {(rule.name, each.name) for rule in rules for each in stack if [*rule.check(each, stack)]}


def at(*path: str | int) -> dict[str, Any]:
    """The bad pod's template below a path."""
    inputs: Any = BAD
    for key in reversed(path):
        inputs = [inputs] if isinstance(key, int) else {key: inputs}
    return dict(inputs)


REPLICATED = at("spec", "replicatedJobs", 0, "template", "spec", "template")


@pytest.mark.parametrize(
    ("type_", "inputs"),
    [
        ("core/v1:Pod", BAD),
        ("core/v1:PodTemplate", at("template")),
        ("core/v1:ReplicationController", at("spec", "template")),
        ("apps/v1:Deployment", at("spec", "template")),
        ("apps/v1:DeploymentPatch", at("spec", "template")),
        ("apps/v1:DaemonSetPatch", at("spec", "template")),
        ("apps/v1:ReplicaSet", at("spec", "template")),
        ("apps/v1:StatefulSet", at("spec", "template")),
        ("batch/v1:CronJob", at("spec", "jobTemplate", "spec", "template")),
        ("batch/v1:CronJobPatch", at("spec", "jobTemplate", "spec", "template")),
        ("jobset.x-k8s.io/v1alpha2:JobSet", REPLICATED),
        ("trainer.kubeflow.org/v1alpha1:TrainingRuntime", {"spec": {"template": REPLICATED}}),
        ("trainer.kubeflow.org/v1alpha1:TrainJob", at("spec", "podTemplateOverrides", 0)),
        ("leaderworkerset.x-k8s.io/v1:LeaderWorkerSet", at("spec", "leaderWorkerTemplate", "workerTemplate")),
        ("argoproj.io/v1alpha1:Rollout", at("spec", "template")),
        ("kubeflow.org/v1:PyTorchJob", at("spec", "pytorchReplicaSpecs", "Worker", "template")),
        ("ray.io/v1:RayCluster", at("spec", "workerGroupSpecs", 0, "template")),
        ("batch.volcano.sh/v1alpha1:Job", at("spec", "tasks", 0, "template")),
        ("keda.sh/v1alpha1:ScaledJob", at("spec", "jobTargetRef", "template")),
        ("serving.knative.dev/v1:Service", at("spec", "template")),
        ("serving.kserve.io/v1beta1:InferenceService", {"spec": {"predictor": BAD["spec"]}}),
        ("serving.kserve.io/v1alpha1:ClusterServingRuntime", BAD),
    ],
)
def test_every_kind_with_pods_is_looked_into(type_: str, inputs: dict[str, Any]) -> None:
    assert problems("restricted", type_, inputs)[0].startswith("web: securityContext.privileged is true")
    assert problems("image-by-digest", type_, inputs)


@pytest.mark.parametrize(
    "part",
    [{"trainer": {"image": "train:1", "numNodes": 2}}, {"initializer": {"model": {"image": "fetch:1", "env": []}}}],
)
def test_a_trainjobs_own_image_is_one_too(part: dict[str, Any]) -> None:
    assert problems("image-by-digest", "trainer.kubeflow.org/v1alpha1:TrainJob", {"spec": part})


def test_a_gate_is_asked_of_a_trainjob() -> None:
    spec = {"trainer": {"env": [{"name": "MODELOPS_GATE", "value": "{}"}]}}
    assert problems("training-gate", "trainer.kubeflow.org/v1alpha1:TrainJob", {"spec": spec})


def test_a_patch_is_judged_by_what_it_says_alone() -> None:
    one = {"spec": {"template": {"spec": {"containers": [{"name": "web", "env": [{"name": "A", "value": "b"}]}]}}}}
    assert {rule: problems(rule, "apps/v1:DeploymentPatch", one) for rule in RULES} == {rule: [] for rule in RULES}
    host = {"spec": {"template": {"spec": {"hostNetwork": True}}}}
    assert problems("restricted", "apps/v1:DeploymentPatch", host) == ["hostNetwork is true; remove it"]


@pytest.mark.parametrize(
    "type_", ["helm.sh/v4:Chart", "helm.sh/v3:Chart", "yaml/v2:ConfigGroup", "kustomize/v2:Directory"]
)
def test_what_the_program_expands_is_judged_as_resources_of_their_own(type_: str) -> None:
    assert all(problems(rule, type_, {"objs": [BAD], "values": BAD}) == [] for rule in RULES)


def test_other_providers_have_no_pods() -> None:
    resource = Resource("aws:ecs/taskDefinition:TaskDefinition", "web", BAD)
    assert all(list(rule.check(resource, [resource])) == [] for rule in RULES.values())


RELEASE = "helm.sh/v3:Release"


def test_a_helm_release_says_that_it_can_not_be_judged_unless_its_manifest_is_there() -> None:
    [problem] = problems("restricted", RELEASE, {"chart": "web"})
    assert "deploy it as `kubernetes.helm.v4.Chart`, or exempt this resource" in problem
    manifest = {"deployment.apps/v1/web": {"kind": "Deployment", **at("spec", "template")}}
    found = problems("restricted", RELEASE, {"chart": "web", "manifest": manifest})
    assert found[0] == "web: securityContext.privileged is true; remove it"
    assert not any("Helm Release" in problem for problem in found)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"securityContext": {"privileged": True}}, "values: securityContext.privileged is true"),
        ({"web": {"podSecurityContext": {"runAsUser": 0}}}, "values.web: securityContext.runAsUser is 0"),
        ({"web": {"containerSecurityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}}}, "has SYS_ADMIN"),
        ({"web": {"hostNetwork": True}}, "hostNetwork is true"),
        ({"extraVolumes": [{"name": "root", "hostPath": {"path": "/"}}]}, "volume root is a hostPath"),
        ({"sidecars": BAD["spec"]["containers"]}, "web: securityContext.privileged is true"),
    ],
)
def test_a_helm_releases_values_are_judged(values: dict[str, Any], says: str) -> None:
    assert any(says in problem for problem in problems("restricted", RELEASE, {"chart": "web", "values": values}))


@pytest.mark.parametrize(
    ("image", "pinned"),
    [
        ({"repository": "team/web", "tag": "1.2"}, False),
        ({"registry": "quay.io", "repository": "team/web", "tag": "1.2", "digest": "sha256:" + "a" * 64}, True),
        ("team/web:1.2", False),
        ("team/web@sha256:" + "a" * 64, True),
    ],
)
def test_images_in_a_helm_releases_values_are_judged(image: object, pinned: bool) -> None:
    found = problems("image-by-digest", RELEASE, {"chart": "web", "values": {"web": {"image": image}}})
    assert (found == []) is pinned


# --- What is no problem


def test_limits_are_requests_too() -> None:
    container = {"name": "web", "image": "web:1", "resources": {"limits": {"cpu": "1", "memory": "1Gi"}}}
    assert problems("resources-set", "core/v1:Pod", {"spec": {"containers": [container]}}) == []
    del container["resources"]["limits"]["cpu"]  # type: ignore[attr-defined]
    [problem] = problems("resources-set", "core/v1:Pod", {"spec": {"containers": [container]}})
    assert problem.startswith("web: requests.cpu not set")


def test_a_pods_own_resources_are_its_containers() -> None:
    whole = {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"memory": "1Gi"}}
    containers = [{"name": "web", "image": "web:1"}, {"name": "side", "image": "side:1"}]
    assert problems("resources-set", "core/v1:Pod", {"spec": {"resources": whole, "containers": containers}}) == []


@pytest.mark.parametrize(
    ("account", "namespace", "token", "found"),
    [
        ("default", "ml", False, 0),
        ("default", "ml", True, 1),
        ("other", "ml", False, 1),
        ("default", "other", False, 1),
    ],
)
def test_a_default_account_without_a_token_gives_none(account: str, namespace: str, token: bool, found: int) -> None:
    own = {"metadata": {"name": account, "namespace": namespace}, "automountServiceAccountToken": token}
    other = Resource("kubernetes:core/v1:ServiceAccount", "account", own)
    pod = {"metadata": {"namespace": "ml"}, **BAD}
    assert len(problems("no-default-token", "core/v1:Pod", pod, other)) == found


@pytest.mark.parametrize(
    ("selector", "found"),
    [
        ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["web", "site"]}]}, 0),
        ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["site"]}]}, 1),
        ({"matchExpressions": [{"key": "app", "operator": "Exists"}]}, 0),
        ({"matchExpressions": [{"key": "tier", "operator": "Exists"}]}, 1),
        ({"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]}, 0),
        ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["site"]}]}, 0),
        ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]}, 1),
        ({"matchLabels": {"app": "web"}, "matchExpressions": [{"key": "tier", "operator": "Exists"}]}, 1),
        ({}, 0),
        (None, 1),
    ],
)
def test_a_budget_selects_as_kubernetes_does(selector: dict[str, Any] | None, found: int) -> None:
    template = {"metadata": {"labels": {"app": "web"}}, **BAD}
    budget = Resource("kubernetes:policy/v1:PodDisruptionBudget", "web", {"spec": {"selector": selector}})
    inputs = {"spec": {"replicas": 2, "template": template}}
    assert len(problems("disruption-budget", "apps/v1:Deployment", inputs, budget)) == found


@pytest.mark.parametrize(
    "gate",
    [
        '{"mse": {}}',
        '{"mse": {"max": null}}',
        '{"mse": null}',
        '{"mse": {"most": 1}}',
        "{}",
        "[1]",
        "null",
        "no",
        '{"mse": {"max": Infinity}}',
    ],
)
def test_a_gate_without_a_bound_is_none(gate: str) -> None:
    env = [{"name": "MODELOPS_GATE", "value": gate}]
    pod = {"spec": {"containers": [{"name": "publish", "env": env}]}}
    assert problems("training-gate", "core/v1:Pod", pod)


@pytest.mark.parametrize("bound", ["min", "max", "min_delta", "max_delta"])
def test_a_gate_with_any_bound_is_one(bound: str) -> None:
    env = [{"name": "MODELOPS_GATE", "value": f'{{"mse": {{}}, "mae": {{"{bound}": 0}}}}'}]
    assert problems("training-gate", "core/v1:Pod", {"spec": {"containers": [{"name": "publish", "env": env}]}}) == []


DIGEST = "sha256:" + "a" * 64
PROMETHEUS_STACK = f"""
apiVersion: monitoring.coreos.com/v1
kind: Prometheus
metadata: {{name: prometheus}}
spec:
  image: quay.io/prometheus/prometheus@{DIGEST}
  automountServiceAccountToken: true
  serviceAccountName: prometheus
  securityContext: {{runAsNonRoot: true, runAsUser: 1000, seccompProfile: {{type: RuntimeDefault}}}}
  hostNetwork: false
  retention: 10d
  resources: {{}}
---
apiVersion: monitoring.coreos.com/v1
kind: Alertmanager
metadata: {{name: alertmanager}}
spec:
  image: quay.io/prometheus/alertmanager@{DIGEST}
  securityContext: {{runAsNonRoot: true, runAsUser: 1000, seccompProfile: {{type: RuntimeDefault}}}}
  containers:
    - name: alertmanager
      readinessProbe: {{initialDelaySeconds: 5}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: operator}}
spec:
  replicas: 1
  template:
    metadata: {{labels: {{app: operator}}}}
    spec:
      serviceAccountName: operator
      automountServiceAccountToken: true
      securityContext: {{runAsNonRoot: true, runAsUser: 65534, seccompProfile: {{type: RuntimeDefault}}}}
      containers:
        - name: operator
          image: quay.io/prometheus-operator/prometheus-operator@{DIGEST}
          resources: {{limits: {{cpu: 200m, memory: 200Mi}}}}
          securityContext: {{allowPrivilegeEscalation: false, capabilities: {{drop: [ALL]}}}}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {{name: node-exporter}}
spec:
  template:
    spec:
      serviceAccountName: node-exporter
      automountServiceAccountToken: false
      hostNetwork: true
      hostPID: true
      securityContext: {{runAsNonRoot: true, runAsUser: 65534}}
      volumes: [{{name: proc, hostPath: {{path: /proc}}}}]
      containers:
        - name: node-exporter
          image: quay.io/prometheus/node-exporter:v1
          resources: {{}}
"""
KSERVE = f"""
apiVersion: serving.kserve.io/v1alpha1
kind: ClusterServingRuntime
metadata: {{name: sklearn}}
spec:
  supportedModelFormats: [{{name: sklearn, version: "1"}}]
  containers:
    - name: kserve-container
      image: kserve/sklearnserver@{DIGEST}
      args: ["--model_dir=/mnt/models"]
      securityContext:
        {{allowPrivilegeEscalation: false, privileged: false, runAsNonRoot: true, capabilities: {{drop: [ALL]}}}}
      resources: {{requests: {{cpu: "1", memory: 2Gi}}, limits: {{cpu: "1", memory: 2Gi}}}}
---
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata: {{name: iris}}
spec:
  predictor:
    model:
      modelFormat: {{name: sklearn}}
      storageUri: gs://models/iris
---
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata: {{name: tagged}}
spec:
  predictor:
    model: {{modelFormat: {{name: sklearn}}, image: "kserve/sklearnserver:v1"}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: controller}}
spec:
  template:
    spec:
      serviceAccountName: controller
      securityContext: {{runAsNonRoot: true, seccompProfile: {{type: RuntimeDefault}}}}
      containers:
        - name: manager
          image: kserve/controller@{DIGEST}
          resources: {{limits: {{cpu: 100m, memory: 300Mi}}, requests: {{cpu: 100m, memory: 200Mi}}}}
          securityContext: {{allowPrivilegeEscalation: false, capabilities: {{drop: [ALL]}}, privileged: false}}
"""


def test_of_kube_prometheus_stack_only_what_is_wrong_is_told() -> None:
    """An extract in the form of its manifests."""
    assert broken(PROMETHEUS_STACK) == {
        ("restricted", "node-exporter"),
        ("resources-set", "node-exporter"),
        ("image-by-digest", "node-exporter"),
    }


def test_of_kserve_only_what_is_wrong_is_told() -> None:
    """An extract in the form of its manifests."""
    assert broken(KSERVE) == {("image-by-digest", "tagged")}
