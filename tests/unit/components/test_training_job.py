"""TrainingJob: one Job for each distinct set of inputs."""

import json
from typing import Any

import pulumi
import pytest

from modelops import UPSTREAM_IMAGES, ArgumentsError, TrainingJob
from modelops.core.run_id import run_id
from modelops.kubernetes.runtime import FOLDER, runtime_command
from tests.unit.components.harness import (
    DIGEST,
    IMAGE,
    Program,
    Resource,
    breaks_restricted,
    container,
    environment,
    ignored_provider,
    on,
    pod,
    provider,
    run,
)

ARGS: dict[str, Any] = {
    "image": IMAGE,
    "model_name": "linear",
    "framework": "tensorflow",
    "namespace": "ml",
    "tracking_uri": "http://registry.ml.svc:5000",
}
EVERYTHING: dict[str, Any] = {
    **ARGS,
    "framework": "pytorch",
    "command": ["python", "train.py"],
    "parameters": {"epochs": 3, "optimizer": "adam", "shuffle": True, "seed": None},
    "gate": {"mse": {"max": 1.2}, "r2": {"min": 0.5, "max": 1, "min_delta": -0.01}},
    "serving_alias": "live",
    "reported_metrics": ["mse", "r2"],
    "data_uri": "s3://bucket/data.csv",
    "data_version": "7",
    "data_claim": "raw",
    "data_secret": "object-store",
    "experiment_name": "trials",
    "resources": {"cpu": "2", "cpu_limit": "4", "memory": "8Gi", "memory_limit": "16Gi", "gpus": 1},
    "retries": 2,
    "timeout_seconds": 7200,
    "runtime_image": "publisher:1",
    "publisher": {"command": ["publish"]},
    "image_pull_secret": "registry",
}


def train(args: Any, **how: Any) -> Program:
    return run(lambda: TrainingJob("demo", args), **how)


def test_defaults() -> None:
    program = train(ARGS)
    job = program.one("Job", "demo")
    spec = job.inputs["spec"]
    assert (spec["backoffLimit"], spec["activeDeadlineSeconds"]) == (0, 3600)
    assert "ttlSecondsAfterFinished" not in spec
    assert container(job, "train")["command"][1:] == [f"{FOLDER}/train.sh", "python", "-m", "sample.train"]
    assert container(job, "publish")["command"][1:] == [f"{FOLDER}/publish.sh", *runtime_command("publish")]
    assert container(job, "publish")["image"] == container(job, "check")["image"] == UPSTREAM_IMAGES["mlflow"]
    assert container(job, "train")["resources"] == {
        "requests": {"cpu": "500m", "memory": "1Gi"},
        "limits": {"memory": "2Gi"},
    }
    variables = environment(job, "train")
    assert variables["MODELOPS_PARAMETERS"] == "{}"
    assert variables["MODELOPS_DATA_URI"] == variables["MODELOPS_DATA_VERSION"] == ""
    assert variables["MLFLOW_EXPERIMENT_NAME"] == "linear"
    assert environment(job, "publish")["MODELOPS_GATE"] == "{}"


def test_the_default_command_may_change_its_name_without_training_again() -> None:
    first_name = ["python", "-m", "model.train"]
    found = [train(args).outputs["run_id"].value for args in (ARGS, {**ARGS, "command": first_name})]
    assert found[0] == found[1]


def test_another_version_of_the_scripts_makes_no_other_job(monkeypatch: pytest.MonkeyPatch) -> None:
    before = train(ARGS)
    monkeypatch.setattr("modelops.training.training_job.scripts", lambda: {"train.sh": "another version"})
    after = train(ARGS)
    assert after.one("Job", "demo").inputs == before.one("Job", "demo").inputs
    programs = [runtime_of(each) for each in (before, after)]
    assert programs[0].inputs["metadata"]["name"] == programs[1].inputs["metadata"]["name"]
    assert programs[0].inputs["metadata"]["annotations"] != programs[1].inputs["metadata"]["annotations"]
    # What replaces the ConfigMap must not replace the Job, so the Job waits for it without using its outputs.
    assert programs[1].name in after.one("Job", "demo").options["dependencies"]


def runtime_of(program: Program) -> Resource:
    """The ConfigMap with the program and the scripts."""
    [found] = [each for each in program.of("ConfigMap") if each.name.startswith("training-job-runtime-")]
    return found


def several(*trainings: dict[str, Any]) -> Program:
    def program() -> None:
        for index, changes in enumerate(trainings):
            TrainingJob(f"demo-{index}", {**ARGS, **changes})  # type: ignore[typeddict-item]

    return run(program)


def test_the_trainings_of_a_namespace_share_the_program() -> None:
    """Or the state would have a copy for each, and is written anew for each resource."""
    later = pulumi.Output.from_input("ml")
    program = several({}, {"parameters": {"epochs": 2}}, {"namespace": later}, {"namespace": later})
    shared = runtime_of(program)
    assert shared.inputs["metadata"]["namespace"] == "ml" and "::pulumi:pulumi:Stack::" in shared.options["parent"]
    for index in range(4):
        job = program.one("Job", f"demo-{index}")
        assert shared.name in job.options["dependencies"]
        [volume] = [each for each in pod(job)["volumes"] if each["name"] == "runtime"]
        assert volume["configMap"]["name"] == shared.inputs["metadata"]["name"]
    # It comes after whatever its first user had to wait for.
    assert shared.options["dependencies"] == ["demo-0"]


def test_another_namespace_has_a_program_of_its_own() -> None:
    found = several({}, {"namespace": "other"}).of("ConfigMap")
    programs = [each.inputs["metadata"]["namespace"] for each in found if "binaryData" in each.inputs]
    assert sorted(programs) == ["ml", "other"]


def test_a_plugin_which_makes_each_component_by_itself_gives_each_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelops.kubernetes.shared.is_program", lambda: False)
    program = several({}, {})
    own = [program.one("ConfigMap", f"demo-{index}-runtime") for index in range(2)]
    assert [each.inputs["metadata"]["name"] for each in own] == ["demo-0-runtime", "demo-1-runtime"]
    [volume] = [each for each in pod(program.one("Job", "demo-1"))["volumes"] if each["name"] == "runtime"]
    assert volume["configMap"]["name"] == "demo-1-runtime"


def test_a_publisher_of_ones_own_is_in_the_training_image() -> None:
    job = train({**ARGS, "publisher": {"command": ["./publish.sh"]}}).one("Job", "demo")
    assert container(job, "publish")["image"] == container(job, "check")["image"] == IMAGE


def test_a_select_command_of_ones_own_leaves_the_publisher_to_the_library() -> None:
    sweep = {"sweep": {"epochs": [1, 2]}, "sweep_metric": "mse"}
    program = train({**ARGS, **sweep, "publisher": {"select_command": ["./select.sh"]}})
    assert container(program.one("Job", "demo"), "publish")["image"] == UPSTREAM_IMAGES["mlflow"]
    assert container(program.one("Job", "demo-select"), "select")["image"] == IMAGE


def test_everything_set_is_kept() -> None:
    program = train(EVERYTHING)
    job = program.one("Job", "demo")
    spec = job.inputs["spec"]
    assert (spec["backoffLimit"], spec["activeDeadlineSeconds"]) == (2, 7200)
    assert container(job, "train")["command"][1:] == [f"{FOLDER}/train.sh", "python", "train.py"]
    assert container(job, "publish")["image"] == "publisher:1"
    assert container(job, "publish")["command"][1:] == [f"{FOLDER}/publish.sh", "publish"]
    assert container(job, "train")["resources"] == {
        "requests": {"cpu": "2", "memory": "8Gi"},
        "limits": {"memory": "16Gi", "cpu": "4", "nvidia.com/gpu": "1"},
    }
    variables = environment(job, "publish")
    assert json.loads(variables["MODELOPS_PARAMETERS"]) == EVERYTHING["parameters"]
    assert json.loads(variables["MODELOPS_GATE"]) == EVERYTHING["gate"]
    assert variables["MODELOPS_SERVING_ALIAS"] == "live"
    assert variables["MODELOPS_FRAMEWORK"] == "pytorch"
    assert variables["MODELOPS_DATA_URI"] == "s3://bucket/data.csv"
    assert variables["MLFLOW_EXPERIMENT_NAME"] == "trials"
    assert pod(job)["imagePullSecrets"] == [{"name": "registry"}]


def test_parameters_may_be_lists_and_objects() -> None:
    """Such as the evaluation of a fine-tuning."""
    evaluation = {"required": ["^{"], "harness": {"chat": True, "few_shot": 2.0}}
    program = train({**ARGS, "parameters": {"evaluation": evaluation}})
    variables = environment(program.one("Job", "demo"), "train")
    assert json.loads(variables["MODELOPS_PARAMETERS"]) == {"evaluation": evaluation}
    assert '"few_shot":2}' in variables["MODELOPS_PARAMETERS"]


def test_run_id_names_the_version_everywhere() -> None:
    program = train(EVERYTHING)
    expected = run_id(
        image_digest=DIGEST,
        command=["python", "train.py"],
        parameters=EVERYTHING["parameters"],
        data_uri="s3://bucket/data.csv",
        data_version="7",
        framework="pytorch",
        workers=1,
    )
    job = program.one("Job", "demo")
    assert program.outputs["run_id"].value == expected
    assert program.outputs["model_version"].value == f"run-{expected}"
    assert program.outputs["model_uri"].value == f"models:/linear@run-{expected}"
    assert environment(job, "publish")["MODELOPS_ALIAS"] == f"run-{expected}"
    assert environment(job, "train")["MODELOPS_RUN_ID"] == expected
    assert job.inputs["metadata"]["labels"]["app.kubernetes.io/version"] == f"run-{expected}"


def test_gate_resources_and_retries_keep_the_run_id() -> None:
    base = train(ARGS).outputs["run_id"].value
    changed = {**ARGS, "gate": {"mse": {"max": 1}}, "resources": {"cpu": "4"}, "retries": 3, "timeout_seconds": 60}
    assert train(changed).outputs["run_id"].value == base


def test_a_plan_knows_the_model_and_its_users_wait_for_the_job() -> None:
    found = train(ARGS, preview=True).outputs["model_uri"]
    assert found.known
    assert found.value.startswith("models:/linear@run-")
    assert "demo" in found.depends_on


def test_the_job_has_no_fixed_name_and_is_retried_when_it_failed() -> None:
    program = train(ARGS)
    metadata = program.one("Job", "demo").inputs["metadata"]
    assert "name" not in metadata
    assert metadata["annotations"] == {"pulumi.com/replaceUnready": "true"}
    assert program.outputs["job_name"].value == "demo-1a2b3c4d"


def test_immutable_fields_replace_the_job() -> None:
    assert train(ARGS).one("Job", "demo").options["replace_on_changes"] == [
        "spec.completionMode",
        "spec.podFailurePolicy",
        "spec.backoffLimitPerIndex",
        "spec.successPolicy",
    ]


def test_pulumi_waits_a_little_longer_than_the_deadline() -> None:
    assert train({**ARGS, "timeout_seconds": 7200}).one("Job", "demo").options["create_timeout"] == "7260s"


def test_disruptions_lost_peers_and_told_stops_do_not_count_as_failures() -> None:
    rules = train(ARGS).one("Job", "demo").inputs["spec"]["podFailurePolicy"]["rules"]
    assert rules == [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        *(
            {"action": "Ignore", "onExitCodes": {"containerName": name, "operator": "In", "values": [75, 143]}}
            for name in ("check", "train", "publish")
        ),
    ]


def test_hopeless_exit_codes_are_not_retried() -> None:
    rules = train({**ARGS, "retries": 1}).one("Job", "demo").inputs["spec"]["podFailurePolicy"]["rules"]
    assert rules[:3] == [
        {"action": "FailJob", "onExitCodes": {"containerName": name, "operator": "In", "values": [2, 3, 4]}}
        for name in ("check", "train", "publish")
    ]
    assert {rule["action"] for rule in rules[3:]} == {"Ignore"}


def test_several_workers_are_an_indexed_job_with_names_for_each_other() -> None:
    program = train({**ARGS, "workers": 3})
    job, service = program.one("Job", "demo"), program.one("core/v1:Service").inputs
    spec = job.inputs["spec"]
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 3, 3)
    assert spec["successPolicy"] == {"rules": [{"succeededIndexes": "0"}]}
    assert pod(job)["subdomain"] == service["metadata"]["name"] == "demo"
    assert (service["spec"]["clusterIP"], service["spec"]["publishNotReadyAddresses"]) == ("None", True)
    labels = spec["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()
    assert environment(job, "train")["MODELOPS_WORKERS"] == "3"
    assert environment(job, "train")["MODELOPS_SERVICE"] == "demo"
    names = [entry for entry in container(job, "train")["env"] if entry["name"] == "MODELOPS_JOB_NAME"]
    path = names[0]["valueFrom"]["fieldRef"]["fieldPath"]
    assert path == "metadata.labels['batch.kubernetes.io/job-name']"


def test_one_worker_is_a_plain_job_without_a_service() -> None:
    program = train(ARGS)
    assert program.of("core/v1:Service") == []
    spec = program.one("Job", "demo").inputs["spec"]
    assert not {"completionMode", "completions", "parallelism", "successPolicy"} & spec.keys()


def test_the_number_of_workers_is_part_of_the_identity() -> None:
    assert train({**ARGS, "workers": 2}).outputs["run_id"].value != train(ARGS).outputs["run_id"].value


def test_workers_reach_each_other_and_nobody_else_does() -> None:
    rules = train({**ARGS, "workers": 2}).one("NetworkPolicy", "demo").inputs["spec"]
    assert rules["policyTypes"] == ["Ingress"]
    assert rules["ingress"] == [{"from": [{"podSelector": rules["podSelector"]}]}]


def test_the_look_for_a_published_run_has_the_least_rights_it_can_do_with() -> None:
    program = train(ARGS)
    [report, look] = program.one("Role", "demo-report").inputs["rules"]
    assert look == {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["list"]}
    assert (report["resourceNames"], report["verbs"]) == (["demo-report"], ["patch"])
    job = program.one("Job", "demo")
    mounted = {
        name: [each["mountPath"] for each in container(job, name)["volumeMounts"] if each["name"] == "account"]
        for name in ("check", "train")
    }
    assert mounted == {"check": ["/var/run/secrets/kubernetes.io/serviceaccount"], "train": []}


def test_the_error_shows_the_last_lines_of_either_container() -> None:
    job = train(ARGS).one("Job", "demo")
    assert [each["name"] for each in pod(job)["initContainers"]] == ["check"]
    for name in ("train", "publish"):
        assert container(job, name)["terminationMessagePolicy"] == "FallbackToLogsOnError"


def test_pods_keep_the_restricted_profile_without_a_token() -> None:
    job = train(EVERYTHING).one("Job", "demo")
    assert breaks_restricted(job) == []
    assert pod(job)["automountServiceAccountToken"] is False
    assert container(job, "train")["securityContext"]["readOnlyRootFilesystem"] is True


@pytest.mark.parametrize("workers", [1, 2])
def test_nobody_connects_to_a_training_pod(workers: int) -> None:
    program = train({**ARGS, "workers": workers})
    [closed] = [each for each in program.of("NetworkPolicy") if each.name.endswith("-closed")]
    rules, job = closed.inputs["spec"], program.one("Job", "demo")
    assert rules["policyTypes"] == ["Ingress"]
    assert "ingress" not in rules
    selected = rules["podSelector"]["matchLabels"]
    assert selected.items() <= job.inputs["spec"]["template"]["metadata"]["labels"].items()
    assert closed.name in job.options["dependencies"]


def test_provider_is_respected() -> None:
    def build() -> TrainingJob:
        return TrainingJob("demo", ARGS, on(provider()))  # type: ignore[arg-type]

    assert ignored_provider(run(build)) == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"image": "team/model:latest"}, "must be named by digest (repository@sha256:…)"),
        ({"framework": "caffe"}, "framework is 'caffe', must be one of tensorflow, pytorch, mxnet"),
        ({"model_name": "-a"}, "model_name is '-a', must be letters"),
        ({"namespace": "Bad"}, "namespace is 'Bad', must be lower-case letters"),
        ({"tracking_uri": "registry"}, "tracking_uri is 'registry', must be an http:// or https:// address"),
        ({"retries": -1}, "retries is -1, must be 0 to 10"),
        ({"timeout_seconds": 5}, "timeout_seconds is 5, must be 30 to 2592000"),
        ({"gate": {"mse": {}}}, "gate.mse is {}, must have min, max, min_delta or max_delta"),
        (
            {"gate": {"mse": {"min_delta": 0}, "f1": {"max": 1, "max_delta": 0.1}}},
            "serving_alias is missing, it is required with gate.mse.min_delta, gate.f1.max_delta, to compare with the "
            "version under that alias: give ModelService the same serving_alias, which it moves after each rollout",
        ),
        ({"gate": {"mse": {"min": 2, "max": 1}}}, "gate.mse.max is 1, must be at least min (2)"),
        (
            {"gate": {"mse": {"above": 1}}},
            "gate.mse.above is not an argument; valid names are max, max_delta, min, min_delta",
        ),
        ({"parameters": {"a": float("nan")}}, "parameters.a is nan, must be a finite number: JSON has no other"),
        ({"parameters": {"a": {1, 2}}}, "must be JSON: text, a number, true, false, null, a list or an object"),
        ({"parameters": {"a": [{"b": float("inf")}]}}, "parameters.a[0].b is inf, must be a finite number"),
        ({"parameters": {"a": {1: 2}}}, "parameters.a.1 is 1, must have text as its name"),
        ({"workers": 0}, "workers is 0, must be 1 to 256"),
        ({"workers": 2, "framework": "other"}, "workers is 2, must be 1 with framework other"),
        ({"processes_per_worker": 2}, "processes_per_worker is 2, must be 1 except with framework pytorch"),
        ({"tensor_parallel": 2}, "tensor_parallel is 2, must divide workers × processes_per_worker (1)"),
        (
            {"gate": {"f1": {"min": 0}}, "reported_metrics": ["mse", "r2"]},
            "gate is 'f1', must be a metric that the run reports (mse, r2)",
        ),
        ({"gate": {"mse": {"max": float("nan")}}}, "gate.mse.max is nan, must be a finite number"),
        (
            {"gate": {"mse": {"min_delta": 1, "max_delta": 0}}},
            "gate.mse.max_delta is 0, must be at least min_delta (1)",
        ),
        ({"sweep": {"lr": [1, 2]}}, "sweep_metric is missing, it is required with sweep"),
        ({"sweep": {"lr": []}, "sweep_metric": "mse"}, "sweep.lr is [], must have values"),
        ({"sweep": {"lr": [{1}]}, "sweep_metric": "mse"}, "sweep.lr[0] is {1}, must be JSON"),
        ({"sweep": {"lr": [1]}, "sweep_metric": "mse", "workers": 2}, "must not be given with several workers"),
        ({"sweep": {"lr": list(range(201))}, "sweep_metric": "mse"}, "must have at most 200 combinations (201 here)"),
        ({"sweep": {"lr": [1]}, "sweep_metric": "mse", "parameters": {"lr": 1}}, "must not be in parameters as well"),
        ({"sweep_metric": "mse"}, "sweep_metric is 'mse', must not be given without sweep"),
        (
            {"sweep": {"lr": [1]}, "sweep_metric": "mse", "sweep_goal": "best"},
            "sweep_goal is 'best', must be one of min, max",
        ),
        ({"checkpoints": {}}, "checkpoints is {}, must have one of storage_size, claim, uri"),
        (
            {"checkpoints": {"storage_size": "1Gi", "uri": "s3://a"}},
            "checkpoints is ['storage_size', 'uri'], must have one of",
        ),
        (
            {"checkpoints": {"storage_size": "10GB"}},
            "checkpoints.storage_size is '10GB', must be a Kubernetes quantity",
        ),
        (
            {"checkpoints": {"uri": "bucket"}},
            "checkpoints.uri is 'bucket', must be an address such as s3://bucket/prefix",
        ),
        ({"checkpoints": {"claim": "a", "secret": "b"}}, "checkpoints.secret is 'b', must not be given without uri"),
        (
            {"checkpoints": {"uri": "s3://a", "keep_after_publish": True}},
            "checkpoints.keep_after_publish is True, must not be given with uri",
        ),
        (
            {"checkpoints": {"storage_size": "1Gi", "access_modes": ["RWX"]}},
            "checkpoints.access_modes is 'RWX', must be one of",
        ),
        (
            {"checkpoints": {"storage_size": "1Gi", "interval_seconds": 0}},
            "checkpoints.interval_seconds is 0, must be 1 to 86400",
        ),
        ({"model_cache": {"claim": "a", "storage_class": "b"}}, "model_cache.storage_class is 'b', must not be given"),
        ({"shared_memory": "8GB"}, "shared_memory is '8GB', must be a Kubernetes quantity"),
        (
            {"tolerations": [{"effect": "Never", "key": "a"}]},
            "tolerations[0].effect is 'Never', must be one of NoSchedule",
        ),
        ({"tolerations": [{"value": "a"}]}, "tolerations[0].key is missing, it is required unless operator is Exists"),
        ({"affinity": {"node": {}}}, "affinity.node is not an argument; valid names are nodeAffinity"),
        ({"queue": "Team A"}, "queue is 'Team A', must be lower-case letters"),
        ({"ttl_seconds_after_finished": 1}, "ttl_seconds_after_finished is 1, must be 60 to 2592000"),
        ({"environment": {"MODELOPS_RUN_ID": "1"}}, "environment is 'MODELOPS_RUN_ID', must be a variable name that"),
        ({"resources": {"memory": "1GB"}}, "resources.memory is '1GB', must be a Kubernetes quantity"),
        ({"resources": {"memory": "1.5.2Gi"}}, "resources.memory is '1.5.2Gi', must be a Kubernetes quantity"),
        ({"resources": {"memory": "10 Mi"}}, "resources.memory is '10 Mi', must be a Kubernetes quantity"),
        ({"resources": {"memory": "-1Gi"}}, "resources.memory is '-1Gi', must be a Kubernetes quantity"),
        (
            {"resources": {"memory": "2Gi", "memory_limit": "1500Mi"}},
            "resources.memory_limit is '1500Mi', must be at least memory (2Gi)",
        ),
        (
            {"resources": {"memory_limit": "512Mi"}},
            "resources.memory_limit is '512Mi', must be at least memory, which is 1Gi",
        ),
        (
            {"resources": {"cpu": "1.5", "cpu_limit": "1200m"}},
            "resources.cpu_limit is '1200m', must be at least cpu (1.5)",
        ),
        ({"resources": {"gpu_resource": "gpu"}}, "resources.gpu_resource is 'gpu', must be a device name"),
        ({"resources": {"devices": {"rdma/hca": 0}}}, "resources.devices.rdma/hca is 0, must be at least 1"),
        ({"resources": {"memory": "lots"}}, "resources.memory is 'lots', must be a Kubernetes quantity"),
        ({"resources": {"gpus": -1}}, "resources.gpus is -1, must be at least 0"),
        ({"command": []}, "command is [], must name a program"),
        ({"epochs": 3}, "epochs is not an argument; docs/components/training_job.md lists them"),
    ],
)
def test_each_error(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(ArgumentsError) as caught:
        train({**ARGS, **change})
    assert problem in str(caught.value)


def test_nothing_is_created_when_something_is_wrong() -> None:
    program = Program()

    def build() -> None:
        with pytest.raises(ArgumentsError):
            TrainingJob("demo", {})  # type: ignore[typeddict-item]

    program = run(build)
    assert program.resources == []


def test_a_long_name_is_refused() -> None:
    with pytest.raises(ArgumentsError, match="at most 50 characters"):
        run(lambda: TrainingJob("a" * 51, ARGS))  # type: ignore[arg-type]


SWEEP: dict[str, Any] = {
    **ARGS,
    "parameters": {"epochs": 3},
    "sweep": {"learning_rate": [0.1, 0.01], "batch": [8, 16]},
    "sweep_metric": "mse",
}


def test_what_a_relative_gate_compares_with_is_looked_for_before_the_training_unless_it_is_the_first() -> None:
    gate = {"gate": {"mse": {"max_delta": 0}}, "serving_alias": "live"}
    told = environment(train({**ARGS, **gate}).one("Job", "demo"), "check")
    assert (told["MODELOPS_GATE"], told["MODELOPS_SERVING_ALIAS"]) == ('{"mse":{"max_delta":0}}', "live")
    assert "MODELOPS_FIRST_VERSION" not in told
    job = train({**ARGS, **gate, "first_version": True}).one("Job", "demo")
    for name in ("check", "publish"):
        assert environment(job, name)["MODELOPS_FIRST_VERSION"] == "true"
    # Without relative bounds there is nothing to look for.
    assert "MODELOPS_GATE" not in environment(train({**ARGS, "gate": {"mse": {"max": 1}}}).one("Job", "demo"), "check")


def test_a_changed_gate_changes_nothing_else_of_the_job() -> None:
    """So a preview can tell a judgement from a training."""
    before, after = (train({**ARGS, "gate": {"mse": {"max": most}}}).one("Job", "demo") for most in (1, 2))
    for job, most in ((before, 1), (after, 2)):
        [gate] = [each for each in container(job, "publish")["env"] if each["name"] == "MODELOPS_GATE"]
        assert gate.pop("value") == f'{{"mse":{{"max":{most}}}}}'
    assert before.inputs == after.inputs


def test_neither_the_gate_nor_what_it_compares_with_is_part_of_the_identity() -> None:
    gate = {"gate": {"mse": {"max_delta": 0}}, "serving_alias": "live", "first_version": True}
    assert train({**ARGS, **gate}).outputs["run_id"].value == train(ARGS).outputs["run_id"].value


def test_a_sweeps_gate_makes_another_job_that_selects_and_leaves_the_trials_alone() -> None:
    gate = {"gate": {"mse": {"max_delta": 0}}, "serving_alias": "live", "first_version": True}
    plain, judged = train(SWEEP), train({**SWEEP, **gate})
    assert judged.one("Job", "demo").inputs["spec"] == plain.one("Job", "demo").inputs["spec"]
    told = environment(judged.one("Job", "demo-select"), "select")
    assert (told["MODELOPS_GATE"], told["MODELOPS_FIRST_VERSION"]) == ('{"mse":{"max_delta":0}}', "true")


def test_a_sweep_is_one_job_with_a_run_for_each_combination_and_one_that_selects() -> None:
    program = train({**SWEEP, "sweep_parallelism": 2})
    job, select = program.one("Job", "demo"), program.one("Job", "demo-select")
    spec = job.inputs["spec"]
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 4, 2)
    variables = environment(job, "train")
    parameters = [json.loads(variables[f"MODELOPS_PARAMETERS_{index}"]) for index in range(4)]
    assert parameters == [
        {"epochs": 3, "batch": batch, "learning_rate": rate} for batch in (8, 16) for rate in (0.1, 0.01)
    ]
    assert "MODELOPS_PARAMETERS" not in variables
    for each in (job, select):
        found = environment(each, "publish" if each is job else "select")
        sweep = {key: found[f"MODELOPS_SWEEP_{key}"] for key in ("METRIC", "GOAL", "RUNS")}
        assert sweep == {"METRIC": "mse", "GOAL": "min", "RUNS": "4"}
    assert container(select, "select")["command"] == runtime_command("select")
    assert program.outputs["model_uri"].depends_on >= {"demo-select"}


@pytest.mark.parametrize(
    "change",
    [
        {"sweep": {"learning_rate": [0.1], "batch": [8, 16]}},
        {"sweep_metric": "mae"},
        {"sweep_goal": "max"},
        {"parameters": {"epochs": 4}},
    ],
)
def test_what_shapes_a_sweep_is_part_of_its_identity(change: dict[str, Any]) -> None:
    assert train({**SWEEP, **change}).outputs["run_id"].value != train(SWEEP).outputs["run_id"].value


def test_how_a_sweep_is_scheduled_is_not_part_of_its_identity() -> None:
    assert train({**SWEEP, "sweep_parallelism": 1}).outputs["run_id"].value == train(SWEEP).outputs["run_id"].value


SCHEDULED: dict[str, Any] = {
    **ARGS,
    "framework": "pytorch",
    "workers": 2,
    "processes_per_worker": 8,
    "tensor_parallel": 4,
    "resources": {"cpu": "8", "memory": "64Gi", "gpus": 8, "gpu_resource": "amd.com/gpu", "devices": {"rdma/hca": 2}},
    "shared_memory": "16Gi",
    "environment": {"NCCL_DEBUG": "INFO"},
    "checkpoints": {"storage_size": "10Gi", "storage_class": "fast", "interval_steps": 100, "interval_seconds": 60},
    "model_cache": {"claim": "weights"},
    "node_selector": {"pool": "gpu"},
    "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}],
    "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "host"}]}},
    "priority_class": "high",
    "runtime_class": "nvidia",
    "resource_claims": {"gpus": "eight-gpus"},
    "ttl_seconds_after_finished": 600,
}


def test_everything_about_scheduling_reaches_the_pods() -> None:
    job = train(SCHEDULED).one("Job", "demo")
    spec = pod(job)
    assert job.inputs["spec"]["ttlSecondsAfterFinished"] == 600
    assert spec["nodeSelector"] == {"pool": "gpu"}
    assert spec["tolerations"] == SCHEDULED["tolerations"]
    assert spec["affinity"] == SCHEDULED["affinity"]
    assert (spec["priorityClassName"], spec["runtimeClassName"]) == ("high", "nvidia")
    assert spec["resourceClaims"] == [{"name": "gpus", "resourceClaimTemplateName": "eight-gpus"}]
    assert container(job, "train")["resources"]["claims"] == [{"name": "gpus"}]
    assert "claims" not in container(job, "publish")["resources"]
    assert container(job, "train")["resources"]["limits"] == {"memory": "64Gi", "amd.com/gpu": "8", "rdma/hca": "2"}
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    assert volumes["shared-memory"]["emptyDir"] == {"medium": "Memory", "sizeLimit": "16Gi"}
    assert volumes["cache"]["persistentVolumeClaim"] == {"claimName": "weights"}
    mounts = {mount["name"]: mount["mountPath"] for mount in container(job, "train")["volumeMounts"]}
    assert mounts["shared-memory"] == "/dev/shm"
    variables = environment(job, "train")
    assert variables["HF_HOME"] == variables["MODELOPS_CACHE_DIR"] == mounts["cache"]
    parallel = {
        key: variables[f"MODELOPS_{key}"] for key in ("PROCESSES_PER_WORKER", "TENSOR_PARALLEL", "DATA_PARALLEL")
    }
    assert parallel == {"PROCESSES_PER_WORKER": "8", "TENSOR_PARALLEL": "4", "DATA_PARALLEL": "4"}
    assert variables["NCCL_DEBUG"] == "INFO"
    assert breaks_restricted(job) == []


def test_checkpoints_are_kept_on_a_claimed_volume_by_run() -> None:
    program = train(SCHEDULED)
    claim, job = program.one("PersistentVolumeClaim"), program.one("Job", "demo")
    assert claim.inputs["spec"] == {
        "accessModes": ["ReadWriteMany"],
        "storageClassName": "fast",
        "resources": {"requests": {"storage": "10Gi"}},
    }
    variables = environment(job, "train")
    assert variables["MODELOPS_FOLDER"] == f"/checkpoints/run-{program.outputs['run_id'].value}"
    assert (variables["MODELOPS_CHECKPOINT_STEPS"], variables["MODELOPS_CHECKPOINT_SECONDS"]) == ("100", "60")
    assert environment(job, "publish")["MODELOPS_DELETE_CHECKPOINTS"] == "true"
    for name in ("train", "publish"):
        assert "/checkpoints" in [mount["mountPath"] for mount in container(job, name)["volumeMounts"]]


def test_checkpoints_that_are_to_stay_stay() -> None:
    program = train({**ARGS, "checkpoints": {"storage_size": "1Gi", "retain_volume": True, "keep_after_publish": True}})
    claim = program.one("PersistentVolumeClaim")
    assert claim.inputs["spec"]["accessModes"] == ["ReadWriteOnce"]
    assert claim.options["retain_on_delete"] is True
    assert "MODELOPS_DELETE_CHECKPOINTS" not in environment(program.one("Job", "demo"), "publish")


def test_checkpoints_in_an_object_store_come_with_its_credentials() -> None:
    job = train({**ARGS, "checkpoints": {"uri": "s3://bucket/runs", "secret": "store"}}).one("Job", "demo")
    assert environment(job, "train")["MODELOPS_CHECKPOINT_URI"] == "s3://bucket/runs"
    assert container(job, "train")["envFrom"] == [{"secretRef": {"name": "store"}}]
    assert "envFrom" not in container(job, "publish")


def test_where_and_how_a_run_runs_is_not_part_of_its_identity() -> None:
    same = {**ARGS, "framework": "pytorch"}
    base = train(same).outputs["run_id"].value
    keys = ("shared_memory", "environment", "checkpoints", "node_selector", "priority_class", "resources")
    keys += ("runtime_class", "resource_claims")
    assert train({**same, **{key: SCHEDULED[key] for key in keys}}).outputs["run_id"].value == base
    for key, value in (("workers", 2), ("processes_per_worker", 2)):
        assert train({**same, key: value}).outputs["run_id"].value != base


def test_a_queued_job_is_created_suspended_and_left_to_the_queue() -> None:
    job = train({**ARGS, "queue": "team-a", "queue_timeout_seconds": 60}).one("Job", "demo")
    assert job.inputs["spec"]["suspend"] is True
    assert job.inputs["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "team-a"
    assert job.options["ignore_changes"] == ["spec.suspend"]
    assert job.options["create_timeout"] == "3720s"


def test_data_is_mounted_for_reading_and_its_secret_goes_to_the_training_alone() -> None:
    args = {**ARGS, "data_uri": "/data/v1", "data_claim": "raw", "data_secret": "object-store"}
    job = train({**args, "checkpoints": {"uri": "s3://b/c", "secret": "checkpoints"}}).one("Job", "demo")
    volumes = {volume["name"]: volume for volume in pod(job)["volumes"]}
    assert volumes["data"]["persistentVolumeClaim"]["claimName"] == "raw"
    training = container(job, "train")
    mounts = {each["name"]: each for each in training["volumeMounts"]}
    assert (mounts["data"]["mountPath"], mounts["data"]["readOnly"]) == ("/data", True)
    assert [each["secretRef"]["name"] for each in training["envFrom"]] == ["checkpoints", "object-store"]
    assert "envFrom" not in container(job, "publish")
    assert "data" not in {each["name"] for each in container(job, "publish")["volumeMounts"]}


def test_where_the_data_lies_is_no_part_of_the_run() -> None:
    args = {**ARGS, "data_uri": "/data/v1"}
    ids = {train({**args, **more}).outputs["run_id"].value for more in ({}, {"data_claim": "a"}, {"data_secret": "b"})}
    assert len(ids) == 1
    with pytest.raises(ArgumentsError, match="data_claim is 'raw', must not be given without data_uri"):
        train({**ARGS, "data_claim": "raw"})
