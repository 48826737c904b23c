"""ModelService: large models, by vLLM."""

from typing import Any

import pytest

from modelops import ArgumentsError, ModelService, ModelServiceArgs
from tests.unit.components.harness import Program, breaks_restricted, container, environment, pod, run

COMMIT = "0e9e39f249a16976918f6564b8830bc894c89659"
ARGS: dict[str, Any] = {
    "runtime": "vllm",
    "model_uri": f"hf://meta-llama/Llama-3.1-8B-Instruct@{COMMIT}",
    "namespace": "ml",
}


def serve(**args: Any) -> Program:
    given: ModelServiceArgs = {**ARGS, **args}  # type: ignore[typeddict-item]
    return run(lambda: ModelService("demo", given))


def command(program: Program) -> str:
    return " ".join(container(program.one("Deployment"), "serve")["command"])


def test_the_model_and_its_revision_are_served() -> None:
    program = serve()
    said = command(program)
    assert said.startswith(f"vllm serve meta-llama/Llama-3.1-8B-Instruct --revision {COMMIT} ")
    assert "--served-model-name meta-llama/Llama-3.1-8B-Instruct" in said
    assert "--port 8080 --tensor-parallel-size 1" in said
    labels = program.one("Deployment").inputs["spec"]["template"]["metadata"]["labels"]
    assert labels["app.kubernetes.io/version"] == COMMIT
    assert program.outputs["predict_url"].value == "http://demo.ml.svc/v1/chat/completions"


def test_gpus_are_the_tensor_parallel_size() -> None:
    program = serve(resources={"gpus": 4}, vllm={"max_model_len": 4096, "arguments": ["--enable-prefix-caching"]})
    assert "--tensor-parallel-size 4 --max-model-len 4096 --enable-prefix-caching" in command(program)
    assert container(program.one("Deployment"), "serve")["resources"] == {
        "requests": {"cpu": "4", "memory": "16Gi"},
        "limits": {"memory": "64Gi", "nvidia.com/gpu": "4"},
    }


def test_one_gpu_is_the_default() -> None:
    limits = container(serve().one("Deployment"), "serve")["resources"]["limits"]
    assert limits["nvidia.com/gpu"] == "1"


def test_shared_memory_and_cache_are_mounted() -> None:
    program = serve(cache={}, vllm={"shared_memory": "2Gi"})
    spec = pod(program.one("Deployment"))
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    assert volumes["shared-memory"]["emptyDir"] == {"medium": "Memory", "sizeLimit": "2Gi"}
    assert volumes["cache"]["persistentVolumeClaim"] == {"claimName": "demo-models-1a2b3c4d"}
    mounts = {each["name"]: each["mountPath"] for each in spec["containers"][0]["volumeMounts"]}
    assert (mounts["shared-memory"], mounts["cache"]) == ("/dev/shm", "/modelops/cache")
    assert environment(program.one("Deployment"), "serve")["HF_HOME"] == "/modelops/cache/huggingface"
    claim = program.one("PersistentVolumeClaim").inputs["spec"]
    assert claim["resources"]["requests"]["storage"] == "200Gi"


def test_a_large_model_may_take_long_to_start() -> None:
    deployment = serve().one("Deployment")
    probe = container(deployment, "serve")["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] == 1800
    assert probe["httpGet"]["path"] == "/health"
    assert deployment.inputs["spec"]["progressDeadlineSeconds"] > 1800


def test_the_whole_drain_comes_before_the_engine_is_stopped() -> None:
    server = container(serve(drain_seconds=60).one("Deployment"), "serve")
    assert server["lifecycle"]["preStop"]["sleep"]["seconds"] == 65


def test_the_queue_decides_the_replica_count() -> None:
    scaler = serve(autoscaling={"max_replicas": 4, "target_queue_length": 5}).one("HorizontalPodAutoscaler")
    [metric] = scaler.inputs["spec"]["metrics"]
    assert metric["pods"]["metric"]["name"] == "vllm_requests_waiting"
    assert metric["pods"]["target"]["averageValue"] == "5"


def test_a_token_stays_in_its_secret() -> None:
    variables = container(serve(vllm={"token_secret": "hugging-face"}).one("Deployment"), "serve")["env"]
    [token] = [entry for entry in variables if entry["name"] == "HF_TOKEN"]
    assert token["valueFrom"]["secretKeyRef"] == {"name": "hugging-face", "key": "token"}


def test_pods_keep_the_restricted_profile() -> None:
    assert breaks_restricted(serve().one("Deployment")) == []


def test_the_model_comes_over_https() -> None:
    rules = serve().one("NetworkPolicy", "demo").inputs["spec"]
    assert [port["port"] for port in rules["egress"][0]["ports"]] == [53, 53, 443]


def group(**args: Any) -> dict[str, Any]:
    program = serve(**{"resources": {"gpus": 8}, "vllm": {"nodes": 2}, "replicas": 3, **args})
    assert program.of("Deployment") == []
    return dict(program.one("LeaderWorkerSet").inputs)


def test_a_model_over_several_nodes_is_a_group_of_pods() -> None:
    found = group()
    assert found["apiVersion"] == "leaderworkerset.x-k8s.io/v1"
    spec = found["spec"]
    assert (spec["replicas"], spec["leaderWorkerTemplate"]["size"]) == (3, 2)
    leader = " ".join(spec["leaderWorkerTemplate"]["leaderTemplate"]["spec"]["containers"][0]["command"])
    worker = " ".join(spec["leaderWorkerTemplate"]["workerTemplate"]["spec"]["containers"][0]["command"])
    for words in (leader, worker):
        assert "--tensor-parallel-size 8 --pipeline-parallel-size 2 --nnodes 2" in words
        assert "--node-rank $(NODE_RANK) --master-addr $(LWS_LEADER_ADDRESS)" in words
    assert worker.endswith("--headless")
    assert "--headless" not in leader


def test_only_leaders_take_requests_and_are_scraped() -> None:
    template = group()["spec"]["leaderWorkerTemplate"]
    leader, worker = template["leaderTemplate"]["metadata"], template["workerTemplate"]["metadata"]
    assert leader["labels"]["modelops.dev/live"] == "true"
    assert "modelops.dev/live" not in worker["labels"]
    assert "annotations" in leader and "annotations" not in worker
    assert "startupProbe" not in template["workerTemplate"]["spec"]["containers"][0]


def test_the_pods_of_a_group_reach_each_other() -> None:
    rules = serve(vllm={"nodes": 2}).one("NetworkPolicy").inputs["spec"]
    own = {"matchLabels": {"app.kubernetes.io/name": "model-service", "app.kubernetes.io/instance": "demo"}}
    assert {"from": [{"podSelector": own}]} in rules["ingress"]
    assert {"to": [{"podSelector": own}]} in rules["egress"]


def test_an_autoscaler_scales_groups() -> None:
    program = serve(vllm={"nodes": 2}, autoscaling={"max_replicas": 2, "target_queue_length": 1})
    target = program.one("HorizontalPodAutoscaler").inputs["spec"]["scaleTargetRef"]
    assert target == {"apiVersion": "leaderworkerset.x-k8s.io/v1", "kind": "LeaderWorkerSet", "name": "demo"}
    assert "replicas" not in program.one("LeaderWorkerSet").inputs["spec"]


def test_another_image_of_the_engine_can_be_named() -> None:
    assert container(serve(image="own@sha256:1").one("Deployment"), "serve")["image"] == "own@sha256:1"


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("tracking_uri", "http://registry:5000"),
        ("tracking_secret", "login"),
        ("smoke_test", {"inputs": [1], "outputs": [1]}),
        ("fetch_command", ["fetch"]),
        ("serve_command", ["serve"]),
    ],
)
def test_the_contracts_arguments_are_not_for_the_engine(argument: str, value: Any) -> None:
    with pytest.raises(ArgumentsError, match=f"{argument} is .* must not be given with the vllm runtime"):
        serve(**{argument: value})


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"model_uri": "models:/a/1"}, "model_uri is 'models:/a/1', must be hf://<organization>/<model>"),
        ({"vllm": {"nodes": 0}}, "vllm.nodes is 0, must be 1 to 64"),
        ({"vllm": {"max_model_len": 0}}, "vllm.max_model_len is 0, must be at least 1"),
        ({"vllm": {"shared_memory": "much"}}, "vllm.shared_memory is 'much', must be a Kubernetes quantity"),
        ({"vllm": {"token_secret": ""}}, "vllm.token_secret is '', must not be empty"),
        ({"resources": {"gpus": 0}}, "resources.gpus is 0, must be at least 1"),
        ({"resources": {"memory_limit": "8Gi"}}, "must be at least memory, which is 16Gi by default"),
        (
            {"vllm": {"nodes": 2}, "rollout": {"max_surge": 1}},
            "rollout.max_surge is 1, must be 0 when vllm.nodes is above 1",
        ),
    ],
)
def test_each_error(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(ArgumentsError) as caught:
        serve(**change)
    assert problem in str(caught.value)
