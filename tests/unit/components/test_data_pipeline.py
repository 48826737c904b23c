"""DataPipeline: one version for each distinct declaration."""

import json
from typing import Any

import pulumi
import pytest

from modelops import ArgumentsError, DataPipeline, TrainingJob
from tests.unit.components.harness import (
    DIGEST,
    IMAGE,
    Program,
    breaks_restricted,
    container,
    environment,
    ignored_provider,
    on,
    pod,
    provider,
    run,
)

SOURCE = {"uri": "s3://raw/*.csv", "types": {"age": "number", "y": "number"}}
STEPS = [{"deduplicate": {}}, {"split": {}}, {"scale": {"columns": ["age"]}}]
ARGS: dict[str, Any] = {
    "image": IMAGE,
    "namespace": "ml",
    "sources": [SOURCE],
    "steps": STEPS,
    "volume": {"storage_size": "10Gi"},
}
EVERYTHING: dict[str, Any] = {
    **ARGS,
    "steps": [{"hash": {"columns": ["who"]}}, *STEPS],
    "target": "y",
    "destination": "s3://prepared/customers",
    "volume": {"claim": "raw"},
    "input_version": "2026-11-24",
    "shards": 4,
    "salt_secret": "salt",
    "data_secret": "object-store",
    "command": ["prepare"],
    "environment": {"AWS_ENDPOINT_URL": "http://s3.ml.svc:7070"},
    "resources": {"cpu": "2", "memory": "8Gi"},
    "node_selector": {"disk": "fast"},
    "tolerations": [{"key": "data", "operator": "Exists"}],
    "retries": 2,
    "timeout_seconds": 7200,
    "ttl_seconds_after_finished": 600,
    "image_pull_secret": "registry",
}


def prepare(args: Any, **how: Any) -> Program:
    return run(lambda: DataPipeline("demo", args), **how)


def version(**changes: Any) -> str:
    return str(prepare({**ARGS, **changes}).outputs["data_version"].value)


def test_defaults() -> None:
    program = prepare(ARGS)
    job = program.one("Job")
    spec = job.inputs["spec"]
    assert (spec["backoffLimit"], spec["activeDeadlineSeconds"]) == (0, 3600)
    assert "completionMode" not in spec and "ttlSecondsAfterFinished" not in spec
    assert container(job, "prepare")["command"] == ["python", "-m", "modelops_runtime", "prepare"]
    variables = environment(job, "prepare")
    assert json.loads(variables["MODELOPS_PIPELINE"]) == {"sources": [SOURCE], "steps": STEPS}
    assert variables["MODELOPS_DESTINATION"] == "/data/prepared"
    assert variables["MODELOPS_SHARDS"] == "1"
    assert variables["MODELOPS_DATA_VERSION"] == program.outputs["data_version"].value
    claim = program.one("PersistentVolumeClaim").inputs["spec"]
    assert claim["accessModes"] == ["ReadWriteOnce"] and claim["resources"]["requests"] == {"storage": "10Gi"}
    assert job.options["create_timeout"] in ("3660s", "1h1m0s", "61m0s")


def test_everything_set() -> None:
    program = prepare(EVERYTHING)
    job = program.one("Job")
    spec = job.inputs["spec"]
    assert (spec["backoffLimit"], spec["activeDeadlineSeconds"], spec["ttlSecondsAfterFinished"]) == (2, 7200, 600)
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 4, 4)
    found = container(job, "prepare")
    assert found["command"] == ["prepare"] and found["envFrom"] == [{"secretRef": {"name": "object-store"}}]
    assert found["resources"] == {"requests": {"cpu": "2", "memory": "8Gi"}, "limits": {"memory": "8Gi"}}
    variables = environment(job, "prepare")
    assert json.loads(variables["MODELOPS_PIPELINE"])["target"] == "y"
    assert variables["AWS_ENDPOINT_URL"] == "http://s3.ml.svc:7070"
    assert variables["MODELOPS_SHARDS"] == "4" and variables["MODELOPS_SHARDS_WAIT_SECONDS"] == "7200"
    salt = next(entry for entry in found["env"] if entry["name"] == "MODELOPS_SALT")
    assert salt["valueFrom"]["secretKeyRef"] == {"name": "salt", "key": "salt"}
    assert pod(job)["nodeSelector"] == {"disk": "fast"} and pod(job)["tolerations"][0]["key"] == "data"
    assert pod(job)["imagePullSecrets"] == [{"name": "registry"}]
    assert not [each for each in program.resources if each.type.endswith("PersistentVolumeClaim")]
    uri, made = program.outputs["data_uri"].value, program.outputs["data_version"].value
    assert uri == f"s3://prepared/customers/{made}"


def test_the_default_command_may_change_its_name_without_preparing_again() -> None:
    assert version(command=["python", "-m", "model.prepare"]) == version()


def test_what_shapes_the_data_changes_the_version_and_nothing_else_does() -> None:
    first = version()
    assert len(first) == 12 and version() == first
    changed = [
        version(image=IMAGE.replace(DIGEST, "sha256:" + "b" * 64)),
        version(steps=[*STEPS[:-1], {"scale": {"columns": ["age"], "by": "minmax"}}]),
        version(steps=[*STEPS[1:2], STEPS[2]]),
        version(sources=[{**SOURCE, "uri": "s3://raw/other.csv"}]),
        version(target="y"),
        version(input_version="2"),
        version(command=["other"]),
    ]
    assert len({first, *changed}) == 8
    same = [
        version(image=IMAGE.replace("registry.example.com", "mirror.example.com")),
        version(retries=3, timeout_seconds=60),
        version(shards=2),
        version(resources={"memory": "8Gi"}),
        version(steps=[{"deduplicate": {}}, {"split": {}}, {"scale": {"columns": ["age"]}}]),
    ]
    assert set(same) == {first}


def test_the_version_is_known_in_a_plan_and_waits_for_the_job() -> None:
    program = prepare(ARGS, preview=True)
    for name in ("data_version", "data_uri"):
        assert program.outputs[name].known
        assert "demo" in program.outputs[name].depends_on


def test_a_new_version_trains_a_new_model() -> None:
    def build(**changes: Any) -> str:
        def both() -> Any:
            data = DataPipeline("data", {**ARGS, **changes})
            return TrainingJob(
                "train",
                {
                    "image": IMAGE,
                    "model_name": "linear",
                    "framework": "tensorflow",  # type: ignore[typeddict-item]
                    "namespace": "ml",
                    "tracking_uri": "http://registry.ml.svc:5000",
                    "data_uri": data.data_uri,
                    "data_version": data.data_version,
                },
            )

        program = run(both, preview=True)
        assert program.outputs["run_id"].known
        return str(program.outputs["run_id"].value)

    assert build() == build() != build(input_version="2")


def test_a_schedule_makes_a_cron_job_that_finds_its_own_versions() -> None:
    program = prepare({**ARGS, "schedule": "0 3 * * *", "time_zone": "Europe/Rome"})
    spec = program.one("CronJob").inputs["spec"]
    assert (spec["schedule"], spec["timeZone"], spec["concurrencyPolicy"]) == ("0 3 * * *", "Europe/Rome", "Forbid")
    template = spec["jobTemplate"]["spec"]["template"]["spec"]
    names = [entry["name"] for entry in template["containers"][0]["env"]]
    assert "MODELOPS_DATA_VERSION" not in names
    assert program.outputs["data_uri"].value == "/data/prepared" and program.outputs["data_version"].value == ""
    assert spec["jobTemplate"]["spec"]["podFailurePolicy"]["rules"][0]["action"] == "FailJob"


def test_shards_share_a_volume_that_all_can_write() -> None:
    claim = prepare({**ARGS, "shards": 2}).one("PersistentVolumeClaim").inputs["spec"]
    assert claim["accessModes"] == ["ReadWriteMany"]


def test_dask_workers_reach_each_other_and_know_each_other_by_certificates() -> None:
    program = prepare({**ARGS, "shards": 3, "engine": "dask"})
    job, secret = program.one("Job"), program.one("Secret", "demo-engine")
    variables = environment(job, "prepare")
    assert (variables["MODELOPS_ENGINE"], variables["MODELOPS_ENGINE_TLS"]) == ("dask", "/etc/modelops/engine")
    assert {"name": "engine", "mountPath": "/etc/modelops/engine", "readOnly": True} in container(job, "prepare")[
        "volumeMounts"
    ]
    assert sorted(secret.inputs["data"].value) == ["ca.crt", "tls.crt", "tls.key"]
    [rule] = program.one("NetworkPolicy").inputs["spec"]["ingress"]
    assert rule["from"][0]["podSelector"]["matchLabels"]["app.kubernetes.io/instance"] == "demo"
    assert breaks_restricted(job) == []
    assert version(shards=3, engine="dask") == version()


def test_a_registry_is_told_of_the_counts() -> None:
    given = {"tracking_uri": "http://registry.ml.svc:5000", "tracking_secret": "accounts"}
    job = prepare({**ARGS, **given}).one("Job")
    variables = environment(job, "prepare")
    assert variables["MLFLOW_TRACKING_URI"] == "http://registry.ml.svc:5000"
    assert variables["MODELOPS_PIPELINE_NAME"] == "demo"
    password = next(e for e in container(job, "prepare")["env"] if e["name"] == "MLFLOW_TRACKING_PASSWORD")
    assert password["valueFrom"]["secretKeyRef"] == {"name": "accounts", "key": "password"}
    assert version(**given) == version()


def test_nobody_reaches_workers_that_do_not_talk() -> None:
    for changes in ({"shards": 3}, {"engine": "dask"}):
        program = prepare({**ARGS, **changes})
        assert not program.one("NetworkPolicy").inputs["spec"].get("ingress")
        assert "MODELOPS_ENGINE_TLS" not in environment(program.one("Job"), "prepare")
        assert not [each for each in program.resources if each.type.endswith(":Secret")]


@pytest.mark.parametrize("retries", [0, 1])
def test_ends_of_a_pod_are_classified(retries: int) -> None:
    rules = prepare({**ARGS, "retries": retries}).one("Job").inputs["spec"]["podFailurePolicy"]["rules"]
    assert [rule["action"] for rule in rules] == ["FailJob"] * bool(retries) + ["Ignore", "Ignore"]
    if retries:
        assert rules[0]["onExitCodes"]["values"] == [2, 10, 11, 13, 14, 15]
    assert rules[-1]["onExitCodes"]["values"] == [143]


def test_the_pods_are_restricted_without_token_and_nothing_connects_to_them() -> None:
    program = prepare(ARGS)
    job = program.one("Job")
    assert breaks_restricted(job) == []
    assert pod(job)["automountServiceAccountToken"] is False and pod(job)["serviceAccountName"] == "demo"
    policy = program.one("NetworkPolicy").inputs["spec"]
    assert policy["policyTypes"] == ["Ingress"] and not policy.get("ingress")
    assert not [each for each in program.resources if "Role" in each.type and not each.is_watch]


def test_the_provider_is_respected() -> None:
    given: list[Any] = []

    def build() -> Any:
        given.append(provider())
        return DataPipeline("demo", ARGS, on(given[0]))  # type: ignore[arg-type]

    assert ignored_provider(run(build)) == []


def test_names_that_are_only_known_later_pass() -> None:
    args = {**ARGS, "namespace": pulumi.Output.from_input("ml"), "input_version": pulumi.Output.from_input("7")}
    assert prepare(args).outputs["data_version"].value == version(input_version="7")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"image": "model:latest"}, "image is 'model:latest', must be named by digest"),
        ({"namespace": "No"}, "namespace is 'No', must be lower-case"),
        ({"sources": []}, "sources is [], must have a source"),
        ({"sources": [{}]}, "sources[0].uri is missing, it is required"),
        ({"sources": [{"uri": "x", "format": "xml"}]}, "sources[0].format is 'xml', must be one of csv, parquet"),
        ({"sources": [{"uri": "x", "typo": 1}]}, "sources[0].typo is not an argument; did you mean types?"),
        (
            {"sources": [{"uri": "x", "compression": "lzma"}]},
            "sources[0].compression is 'lzma', must be one of none, gzip",
        ),
        ({"sources": [{"uri": "x", "format": "sql"}]}, "sources[0].query is None, must be given with format sql"),
        ({"tracking_secret": "a"}, "tracking_uri is missing, it is required with tracking_secret"),
        ({"tracking_uri": "registry"}, "tracking_uri is 'registry', must be"),
        ({"engine": "spark"}, "engine is 'spark', must be one of memory, dask"),
        (
            {"steps": [{"fill": {"columns": ["a"], "by": "interpolate"}}, {"split": {}}], "engine": "dask"},
            "steps[0].fill.by is 'interpolate', must not be given with engine dask",
        ),
        (
            {"steps": [{"conversations": {}}, {"near_duplicates": {}}, {"split": {}}], "engine": "dask"},
            "steps[1] is 'near_duplicates', must not be given with engine dask: it needs all rows in one memory",
        ),
        ({"steps": [{"deduplicate": {}}]}, "steps is ['deduplicate'], must have exactly one split"),
        ({"steps": [{"polish": {}}, {"split": {}}]}, "steps[0].polish is not a step; docs/data-steps.md lists them"),
        ({"steps": [{"split": {}, "drop": {}}]}, "steps[0] is "),
        ({"steps": [{"split": {}}, {"scale": {}}]}, "steps[1].scale.columns is missing"),
        ({"steps": [{"split": {"by": "luck"}}]}, "steps[0].split.by is 'luck', must be one of random, stratified"),
        ({"steps": [{"split": {"sed": 1}}]}, "steps[0].split.sed is not an argument; did you mean seed?"),
        ({"steps": [{"split": None}]}, "steps[0].split is None, must be a mapping of fields"),
        (
            {"steps": [{"scale": {"columns": ["a"]}}, {"split": {}}]},
            "steps[0] is 'scale', must be after split: it is fitted on the training split",
        ),
        (
            {"steps": [{"hash": {"columns": ["a"]}}, {"split": {}}]},
            "salt_secret is missing, it is required with hash",
        ),
        ({"steps": [{"drop": {"columns": ["a" * 100_000]}}, {"split": {}}]}, "must be at most 100000 bytes of JSON"),
        ({"volume": {}}, "volume is {}, must have one of storage_size, claim"),
        ({"volume": {"storage_size": "lots"}}, "volume.storage_size is 'lots', must be a Kubernetes quantity"),
        (
            {"volume": {"claim": "a", "retain_volume": True}},
            "volume.retain_volume is True, must not be given without storage_size",
        ),
        ({"volume": None}, "destination is missing, it is required without volume"),
        (
            {"destination": "/tmp/x"},
            "destination is '/tmp/x', must be a folder under /data or an s3://, gs://, az:// or abfss:// address",
        ),
        ({"destination": "s3:///x"}, "destination is 's3:///x', must be a folder under /data or an s3://"),
        ({"volume": None, "destination": "/data/x"}, "volume is missing, it is required with the destination /data/x"),
        ({"shards": 101}, "shards is 101, must be 1 to 100"),
        ({"retries": 11}, "retries is 11, must be 0 to 10"),
        ({"timeout_seconds": 1}, "timeout_seconds is 1, must be 30 to 2592000"),
        ({"schedule": "often"}, "schedule is 'often', must be a cron expression"),
        ({"time_zone": "Etc/UTC"}, "time_zone is 'Etc/UTC', must not be given without schedule"),
        ({"schedule": "@daily", "input_version": "1"}, "input_version is '1', must not be given with schedule"),
        ({"environment": {"MODELOPS_X": "1"}}, "environment is 'MODELOPS_X', must be a variable name"),
        ({"command": []}, "command is [], must name a program"),
        ({"resources": {"memory": "much"}}, "resources.memory is 'much', must be a Kubernetes quantity"),
        ({"sharts": 2}, "sharts is not an argument; did you mean shards?"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_created(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(ArgumentsError) as caught:
        prepare({**ARGS, **changes})
    assert str(caught.value).startswith('DataPipeline "demo": ')
    assert problem in str(caught.value)


def test_the_claim_of_the_volume_is_an_output() -> None:
    assert prepare({**ARGS, "volume": {"claim": "raw"}}).outputs["data_claim"].value == "raw"
    assert prepare(ARGS).outputs["data_claim"].value
    args = {key: value for key, value in ARGS.items() if key != "volume"}
    for uri in ("s3://prepared/x", "gs://prepared/x", "az://prepared/x", "abfss://c@account.dfs.core.windows.net/x"):
        assert prepare({**args, "destination": uri}).outputs["data_claim"].value == ""
