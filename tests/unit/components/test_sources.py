"""Where models come from: what each form of `model_uri` says, and what it makes of the pods."""

from typing import Any

import pulumi
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelops import ArgumentsError
from modelops.core.model_sources import parse
from tests.unit.components import service
from tests.unit.components.harness import Program, breaks_restricted, container, environment, pod
from tests.unit.components.service import refused, serve

COMMIT, DIGEST, RUN = "0e9e39f249a16976918f6564b8830bc894c89659", "ab" * 32, "0123456789abcdef" * 2
ARGS = {**service.ARGS, "runtime_image": "registry.example.com/fetch@sha256:1"}
ALONE = {key: value for key, value in ARGS.items() if key != "tracking_uri"}
FIXED = {
    "models:/linear/3": ("linear", "3"),
    "models:/linear@run-0123456789ab": ("linear", "run-0123456789ab"),
    f"models:/m-{RUN}": (f"m-{RUN}", f"m-{RUN}"),
    f"runs:/{RUN}/out/linear": ("linear", RUN),
    "s3://models/team/linear/v3": ("linear", "v3"),
    "gs://models/linear/v3": ("linear", "v3"),
    "az://models/v3": ("models", "v3"),
    "pvc://models/linear/v3": ("linear", "v3"),
    f"hf://team/model@{COMMIT}": ("team/model", COMMIT),
    f"oci://registry.example.com:5000/team/linear@sha256:{DIGEST}": ("linear", "abababababab"),
}
"""By reference: the name and the version that the pods have."""
MOVABLE = {
    "models:/linear@champion": ("linear", "champion"),
    "models:/linear/latest": ("linear", "latest"),
    "hf://team/model": ("team/model", "main"),
    "hf://team/model@v1.0": ("team/model", "v1.0"),
    f"hf://team/model@{COMMIT[:7]}": ("team/model", COMMIT[:7]),
    "oci://localhost/team/linear:v1": ("linear", "v1"),
}
DOWNLOADED = ("s3://models/linear/v3", "gs://models/linear/v3", "az://models/v3", f"hf://team/model@{COMMIT}")
CLAIM, IMAGE = "pvc://models/linear/v3", f"oci://registry.example.com/team/linear@sha256:{DIGEST}"


def later(uri: str) -> Any:
    return pulumi.Output.from_input(uri)


def model_volume(program: Program) -> dict[str, Any]:
    """The volume with the model, and how the server mounts it."""
    deployment = program.one("Deployment")
    [volume] = [each for each in pod(deployment)["volumes"] if each["name"] == "model"]
    [mount] = [each for each in container(deployment, "serve")["volumeMounts"] if each["name"] == "model"]
    return {**volume, **mount}


@pytest.mark.parametrize("uri", FIXED)
def test_a_fixed_reference_is_served_as_it_is_under_its_version(uri: str) -> None:
    needed = ARGS if parse(uri).registered else ALONE
    for given_uri in (uri, later(uri)):
        deployment = serve({**needed, "model_uri": given_uri}).one("Deployment")
        server, labels = environment(deployment, "serve"), deployment.inputs["spec"]["template"]["metadata"]["labels"]
        assert (server["MODELOPS_MODEL_NAME"], server["MODELOPS_MODEL_VERSION"]) == FIXED[uri]
        assert labels["app.kubernetes.io/version"] == FIXED[uri][1]
        assert environment(deployment, "fetch")["MODELOPS_MODEL_URI"] in (uri, "file:///modelops/model")
        assert breaks_restricted(deployment) == []


@pytest.mark.parametrize("uri", [*FIXED, *MOVABLE])
def test_what_can_move_is_known_by_its_form(uri: str) -> None:
    found = parse(uri)
    assert (found.name, found.version) == {**FIXED, **MOVABLE}[uri]
    assert found.fixed is (uri in FIXED)


@pytest.mark.parametrize(
    ("uri", "rule"),
    [
        ("models:/linear", "must name a version: models:/linear/<version> or models:/linear@<alias>"),
        (
            "models:/linear/Production",
            "must not name a stage, MLflow has dropped them: write models:/linear@<alias> or models:/linear/<version>",
        ),
        ("models:/linear/0", "must be models:/<name>@<alias>, models:/<name>/<version> or models:/m-<id>"),
        ("models:/linear@", "must be models:/<name>@<alias>"),
        ("runs:/abc/model", "must be runs:/<run id>/<path>"),
        (f"runs:/{RUN}/a/../b", "must be a path without `.` and `..`"),
        (f"runs:/{RUN}", "must be runs:/<run id>/<path>"),
        ("s3://models", "must be s3://<bucket>/<path>"),
        ("s3://models/a b", "must be s3://<bucket>/<path>"),
        ("s3://models/linear/v3/", "must be s3://<bucket>/<path>"),
        ("s3://models/../v3", "must be a path without `.` and `..`"),
        ("pvc://models", "must be pvc://<claim>/<path>"),
        ("pvc://Models/v3", "must be pvc://<claim>/<path>"),
        ("hf://model", "must be hf://<organization>/<model>[@<revision>]"),
        ("hf://team/..", "must be hf://<organization>/<model>[@<revision>]"),
        ("hf://team/model@..", "must be hf://<organization>/<model>[@<revision>]"),
        ("hf://téam/model", "must be hf://<organization>/<model>[@<revision>]"),
        ("oci://localhost:5000/linear", "must end with the image's digest or tag"),
        ("oci://linear:v1", "must be oci://<registry>/<repository>@sha256:<digest>"),
        ("oci://localhost/linear:vé", "must be oci://<registry>/<repository>@sha256:<digest>"),
        ("oci://localhost/Team/linear:v1", "must have a repository in lower case"),
        (
            "models:/my model/3",
            "must have a name of letters, digits, '.', '_' and '-', starting and ending with a letter",
        ),
        ("gs://models/.hidden_", "must have a version that can be a label: '.hidden_' isn't letters"),
        (f"gs://models/{'v' * 64}", "at most 63 characters"),
        ("http://models/1", "must be models:/<name>@<alias>, models:/<name>/<version>, models:/m-<id>, runs:/"),
    ],
)
def test_each_reference_that_is_refused(uri: str, rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ArgumentsError) as caught:
        serve({**ARGS, "model_uri": uri})
    assert f"model_uri is {uri!r}, must " in str(caught.value) and rule in str(caught.value)
    assert refused({**ARGS, "model_uri": later(uri)}, monkeypatch) == str(caught.value)


@given(st.text(max_size=80))
def test_any_text_is_judged(text: str) -> None:
    for scheme in ("models:/", "runs:/", "s3://", "pvc://", "hf://", "oci://", ""):
        try:
            found = parse(scheme + text)
        except ValueError as error:
            assert str(error).startswith("must ")
        else:
            assert found.name and found.version


@pytest.mark.parametrize("uri", [uri for uri in FIXED if not parse(uri).registered])
def test_only_a_registry_s_models_need_its_address(uri: str) -> None:
    serve({**ALONE, "model_uri": uri})


@pytest.mark.parametrize("uri", DOWNLOADED)
def test_what_only_a_store_s_client_can_read_needs_an_image_with_one(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rule = f"runtime_image is missing, {uri.partition(':')[0]}:// needs an image that can read from there"
    with pytest.raises(ArgumentsError, match=rule):
        serve({**service.ARGS, "model_uri": uri})
    assert rule in refused({**service.ARGS, "model_uri": later(uri)}, monkeypatch)
    serve({**service.ARGS, "model_uri": uri, "fetch_command": ["fetch"]})


@pytest.mark.parametrize("uri", ["models:/linear/3", f"runs:/{RUN}/model"])
def test_a_registry_s_models_need_its_address(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rule = "tracking_uri is missing, it is required for a model_uri of the form"
    with pytest.raises(ArgumentsError, match=rule):
        serve({**ALONE, "model_uri": uri})
    assert rule in refused({**ALONE, "model_uri": later(uri)}, monkeypatch)


@pytest.mark.parametrize("wrap", [str, later])
def test_a_claim_is_mounted_read_only_and_checked_where_it_is(wrap: Any) -> None:
    program = serve({**ALONE, "model_uri": wrap(CLAIM), "smoke_test": {"inputs": [1], "outputs": [1]}})
    found = model_volume(program)
    assert found["persistentVolumeClaim"] == {"claimName": "models", "readOnly": True}
    assert (found["mountPath"], found["subPath"], found["readOnly"]) == ("/modelops/model", "linear/v3", True)
    deployment = program.one("Deployment")
    assert environment(deployment, "fetch")["MODELOPS_MODEL_URI"] == "file:///modelops/model"
    [mounted] = [each for each in container(deployment, "fetch")["volumeMounts"] if each["name"] == "model"]
    assert mounted["readOnly"] is True and mounted["subPath"] == "linear/v3"
    smoke = pod(program.one("Job", "demo-smoke"))
    assert smoke["volumes"] == pod(deployment)["volumes"]


@pytest.mark.parametrize("wrap", [str, later])
def test_an_image_is_mounted_read_only_by_its_digest(wrap: Any) -> None:
    found = model_volume(serve({**ALONE, "model_uri": wrap(IMAGE), "image_pull_secret": "login"}))
    assert found["image"] == {"reference": IMAGE.removeprefix("oci://"), "pullPolicy": "IfNotPresent"}
    assert (found["mountPath"], found["readOnly"]) == ("/modelops/model", True)
    assert "subPath" not in found


def test_a_preview_plans_with_an_image_that_is_not_built_yet() -> None:
    uri = pulumi.Output.concat("oci://", pulumi.Output.from_input(pulumi.UNKNOWN))
    assert serve({**ALONE, "model_uri": uri}, preview=True).one("Deployment")


def ports(program: Program) -> list[int]:
    egress = program.one("NetworkPolicy", "demo").inputs["spec"]["egress"][0]
    return [int(port["port"]) for port in egress["ports"] if port["port"] not in (53, 5353)]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        *(({"model_uri": uri, "tracking_uri": None}, [443]) for uri in DOWNLOADED),
        ({"model_uri": CLAIM, "tracking_uri": None}, []),
        ({"model_uri": IMAGE, "tracking_uri": None}, []),
        ({"model_uri": "models:/linear/3"}, [5000]),
        ({"model_uri": "models:/linear/3", "shadow": {"model_uri": DOWNLOADED[0]}}, [5000, 443, 8080]),
        ({"model_uri": DOWNLOADED[0], "model_endpoint_url": "http://minio:9000", "tracking_uri": None}, [9000]),
        ({"model_uri": "models:/linear/3", "model_endpoint_url": "http://minio:9000"}, [5000, 9000]),
        ({"model_uri": "models:/linear/3", "model_secret": "store"}, [5000, 443]),
    ],
)
def test_pods_reach_only_where_the_model_is(change: dict[str, Any], expected: list[int]) -> None:
    assert ports(serve({**ARGS, **change})) == expected


def test_what_an_output_names_can_be_reached() -> None:
    assert ports(serve({**ARGS, "model_uri": later("models:/linear/3")})) == [5000]
    assert ports(serve({**ALONE, "model_uri": later(DOWNLOADED[0])})) == [443]
    both = {**ARGS, "model_uri": later(DOWNLOADED[0]), "model_secret": "store"}
    assert ports(serve(both)) == [5000, 443]


def test_a_store_s_keys_stay_in_their_secret_and_its_address_is_given() -> None:
    args = {"model_uri": DOWNLOADED[0], "model_secret": "store", "model_endpoint_url": "http://minio:9000"}
    deployment = serve({**ALONE, **args}).one("Deployment")
    assert container(deployment, "fetch")["envFrom"] == [{"secretRef": {"name": "store"}}]
    assert environment(deployment, "fetch")["AWS_ENDPOINT_URL"] == "http://minio:9000"
    assert "envFrom" not in container(deployment, "serve")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"model_uri": CLAIM, "cache": {}}, "cache is {}, must not be given with pvc://, which pods mount"),
        ({"model_uri": IMAGE, "fetch_command": ["f"]}, "fetch_command is ['f'], must not be given with oci://"),
        (
            {"model_uri": DOWNLOADED[0], "serving_alias": "live"},
            "serving_alias is 'live', must not be given with a model_uri that is no version of a registered model",
        ),
        ({"model_uri": f"models:/m-{RUN}", "serving_alias": "live"}, "that is no version of a registered model"),
        (
            {"canary": {"model_uri": DOWNLOADED[0], "weight_percent": 50}, "serving_alias": "live"},
            "must not be given with a canary.model_uri that is no version of a registered model",
        ),
        (
            {"model_uri": "gs://models/v3", "model_endpoint_url": "http://minio:9000"},
            "model_endpoint_url is 'http://minio:9000', must not be given with gs://",
        ),
        ({"model_endpoint_url": "minio"}, "model_endpoint_url is 'minio', must be an http:// or https:// address"),
        ({"tracking_url": "mlflow"}, "tracking_url is 'mlflow', must be an http:// or https:// address"),
        ({"tracking_url": "http://mlflow:port"}, "'http://mlflow:port', must be an http:// or https:// address"),
        ({"tracking_url": "http://[mlflow"}, "'http://[mlflow', must be an http:// or https:// address"),
        ({"model_secret": ""}, "model_secret is '', must be an object's name"),
        ({"shadow": {"model_uri": "models:/linear"}}, "shadow.model_uri is 'models:/linear', must name a version"),
        (
            {"blue_green": {"live": "blue", "standby_model_uri": "x"}},
            "blue_green.standby_model_uri is 'x', must be models:/<name>@<alias>",
        ),
        ({"model_uri": "models:/linear/latest", "allow_drift": True}, "must name an alias with allow_drift"),
        (
            {"model_uri": "hf://team/model@refs/pr/1", "allow_drift": True},
            "must end in what can be a label, with allow_drift",
        ),
    ],
)
def test_each_error(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(ArgumentsError) as caught:
        serve({**ARGS, **change})
    assert problem in str(caught.value)
