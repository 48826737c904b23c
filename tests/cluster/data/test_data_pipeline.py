"""DataPipeline: a Job, shards, a CronJob, what is wrong with data, and that nothing personal gets out."""

import json
import re

import pytest

from modelops_runtime.data.storage import ABOUT
from tests.cluster.data.pipelines import CARD, MAIL, PERSON, ROWS, SALT, Pipelines
from tests.cluster.s3 import ObjectStore
from tests.cluster.support import apply, kubectl, objects

pytestmark = pytest.mark.data


def test_a_job_prepares_a_version_once_and_shards_give_the_same_files(pipelines: Pipelines) -> None:
    stack = pipelines.new_stack()
    stack.up(pipelines.program("once", "one"))
    outputs = stack.outputs()
    assert outputs["data_uri"] == f"/data/one/{outputs['data_version']}"
    report = json.loads(pipelines.exec("cat", f"{outputs['data_uri']}/report.json"))
    assert sum(report["rows"].values()) == ROWS and report["data_version"] == outputs["data_version"]
    assert stack.up(pipelines.program("once", "one")).changed() == {}

    sharded = pipelines.new_stack()
    sharded.up(pipelines.program("sharded", "many", shards=3))
    assert sharded.outputs()["data_version"] == outputs["data_version"]
    assert pipelines.digests(sharded.outputs()["data_uri"]) == pipelines.digests(outputs["data_uri"])


SAME = """
import pathlib, sys
import pandas
one, other = map(pathlib.Path, sys.argv[1:])
for part in ("train", "validation", "test"):
    frames = [pandas.read_parquet(folder / part) for folder in (one, other)]
    pandas.testing.assert_frame_equal(*frames, check_exact=True)
for file in ("preprocessing.json", "report.json"):
    assert (one / file).read_text() == (other / file).read_text(), file
print("the same rows")
"""


def test_dask_on_several_workers_gives_the_rows_of_one(pipelines: Pipelines) -> None:
    one, many = pipelines.new_stack(), pipelines.new_stack()
    one.up(pipelines.program("alone", "alone"))
    made = pipelines.program("spread", "spread", shards=3, engine="dask")
    many.up(made)
    many.unchanged(made)
    outputs = many.outputs()
    assert outputs["data_version"] == one.outputs()["data_version"]
    assert "the same rows" in run_in_image(pipelines, SAME, one.outputs()["data_uri"], outputs["data_uri"])
    pods = objects("pods", pipelines.namespace, "--selector", f"job-name={outputs['job_name']}")
    assert [pod["status"]["phase"] for pod in pods] == ["Succeeded"] * 3
    # Nothing of the work stays: the version, and the name of the newest.
    assert sorted(pipelines.exec("ls", "-A", "/data/spread").split()) == sorted(
        [outputs["data_version"], "latest.json"]
    )


def test_a_changed_step_is_a_new_version_known_in_the_plan(pipelines: Pipelines) -> None:
    stack = pipelines.new_stack()
    stack.up(pipelines.program("changed", "changed"))
    before = stack.outputs()["data_version"]
    steps = [*pipelines.args("changed")["steps"][:-2], {"scale": {"columns": ["age", "income"], "by": "minmax"}}]
    steps.append({"encode": {"columns": ["city"]}})
    stack.up(pipelines.program("changed", "changed", steps=steps))
    after = stack.outputs()["data_version"]
    assert after != before
    assert {before, after} < set(pipelines.exec("ls", "/data/changed").split())


def test_a_schedule_prepares_what_is_new_and_nothing_else(pipelines: Pipelines) -> None:
    stack = pipelines.new_stack()
    stack.up(pipelines.program("nightly", "nightly", schedule="0 3 1 1 *"))
    said = []
    for run in ("first", "second"):
        kubectl("create", "job", run, "--namespace", pipelines.namespace, "--from=cronjob/nightly")
        kubectl("wait", "--namespace", pipelines.namespace, f"job/{run}", "--for=condition=Complete", "--timeout=300s")
        said.append(kubectl("logs", "--namespace", pipelines.namespace, f"job/{run}"))
    latest = json.loads(pipelines.exec("cat", "/data/nightly/latest.json"))["data_version"]
    assert f"data_version {latest}" in said[0]
    assert f"{latest} is there already: nothing to do" in said[1]


def test_an_object_store_is_source_and_destination(pipelines: Pipelines, object_store: ObjectStore) -> None:
    raw = "import pathlib; f = pathlib.Path('/data/{}/raw'); f.mkdir(); (f / 'a.csv').write_text('a,y\\n' + rows)"
    script = "rows = ''.join(f'{n},{n % 2}\\n' for n in range(50)); " + raw.format(object_store.bucket)
    arguments = ("--namespace", object_store.namespace, "s3", "--container", "shell")
    kubectl("exec", *arguments, "--", "python3", "-c", script)
    stack = pipelines.new_stack()
    changes = {
        "sources": [{"uri": f"s3://{object_store.bucket}/raw/*.csv", "types": {"a": "number", "y": "number"}}],
        "steps": [{"split": {}}, {"scale": {"columns": ["a"]}}],
        "destination": f"s3://{object_store.bucket}/prepared",
        "data_secret": object_store.credentials(pipelines.namespace),
        "environment": object_store.variables,
        "shards": 2,
    }
    args = {key: value for key, value in pipelines.args("unused").items() if key not in ("volume", "salt_secret")}
    stack.up(pipelines.program_with("store", {**args, **changes}))
    version = stack.outputs()["data_version"]
    assert stack.outputs()["data_uri"] == f"s3://{object_store.bucket}/prepared/{version}"
    there = object_store.objects("prepared/")
    # Each file but the report and what is named for people is in a folder of the attempt that wrote it.
    shown = [re.sub(r"/[0-9a-f]{8}/", "/*/", name) for name in there]
    assert sorted(shown) == sorted(
        [
            *(f"prepared/{version}/{folder}{name}" for folder in ("", "about/*/") for name in ABOUT),
            *(f"prepared/{version}/{part}/*/part-00000.parquet" for part in ("test", "train", "validation")),
            f"prepared/{version}/report.json",
            "prepared/latest.json",
        ]
    )


def test_a_bad_row_fails_the_update_names_the_row_and_leaves_nothing(pipelines: Pipelines) -> None:
    stack = pipelines.new_stack()
    sources = [{"uri": "/data/raw/bad.csv", "types": {"age": "number", "y": "number"}}]
    failed = stack.up(pipelines.program("bad", "bad", sources=sources, steps=[{"split": {}}]), succeed=False)
    assert "bad.csv, row 1, column age: must be of the type number" in failed.text
    assert PERSON not in failed.text
    assert "bad" not in pipelines.exec("ls", "/data").split()


@pytest.mark.parametrize("engine", ["memory", "dask"])
def test_no_planted_identifier_is_in_any_output_log_object_or_state(pipelines: Pipelines, engine: str) -> None:
    stack, destination = pipelines.new_stack(), f"private-{engine}"
    stack.up(pipelines.program(destination, destination, shards=2, engine=engine))
    name = stack.outputs()["job_name"]
    for planted in (PERSON, MAIL, CARD, SALT):
        # Parquet is compressed: what is in it is looked at by value, below.
        assert pipelines.exec("sh", "-c", f"grep -rl '{planted}' /data/{destination} || true") == ""
    logs = kubectl("logs", "--namespace", pipelines.namespace, "--selector", f"job-name={name}", "--tail=-1")
    assert "data_version" in logs
    kinds = "pods,jobs,configmaps,events,networkpolicies,serviceaccounts"
    seen = logs + kubectl("get", kinds, "--namespace", pipelines.namespace, "--output", "json")
    seen += "".join(path.read_text(errors="replace") for path in stack.folder.rglob("*") if path.is_file())
    for planted in (PERSON, MAIL, CARD, SALT):
        assert planted not in seen
    script = "import pandas, sys; print(pandas.concat(map(pandas.read_parquet, sys.argv[1:])).to_csv())"
    folder = stack.outputs()["data_uri"]
    table = run_in_image(pipelines, script, *(f"{folder}/{part}" for part in ("train", "validation", "test")))
    assert table.count("person-") == ROWS and table.count("<EMAIL_ADDRESS>") == ROWS // 10
    for planted in (PERSON, MAIL, CARD, SALT):
        assert planted not in table


def run_in_image(pipelines: Pipelines, script: str, *arguments: str, seconds: int = 60) -> str:
    """What a Python script says in the pipeline's image, with the volume."""
    pod = pipelines.volume_pod(pipelines.image)
    pod["metadata"]["name"] = "table"
    pod["spec"]["restartPolicy"] = "Never"
    pod["spec"]["containers"][0] |= {"command": ["python", "-c", script, *arguments]}
    pod["spec"]["containers"][0]["resources"]["limits"]["memory"] = "1Gi"
    apply(pod)
    ended = ("--for=jsonpath={.status.phase}=Succeeded", f"--timeout={seconds}s")
    try:
        kubectl("wait", "--namespace", pipelines.namespace, "pod/table", *ended)
        return kubectl("logs", "--namespace", pipelines.namespace, "table")
    finally:
        kubectl("delete", "pod", "table", "--namespace", pipelines.namespace, "--wait=true")


def test_pods_are_restricted_and_have_no_token(pipelines: Pipelines) -> None:
    pipelines.new_stack().up(pipelines.program("restricted", "one"))
    pods = objects("pods", pipelines.namespace, "--selector", "app.kubernetes.io/name=data-pipeline")
    assert pods
    for pod in pods:
        assert pod["spec"]["automountServiceAccountToken"] is False
        assert pod["spec"]["serviceAccountName"] != "default"
