"""ModelService with a shadow: copies of the requests, answers for nobody."""

from typing import Any

import pytest

from modelops import ArgumentsError
from tests.unit.components.harness import Program, breaks_restricted, environment
from tests.unit.components.service import ARGS, serve

B = "models:/linear@run-b"
SHADOW = {"model_uri": B}
GATEWAY = {"host": "model.example.com", "gateway": {"name": "shared"}}


def shaded(shadow: Any = SHADOW, **more: Any) -> Program:
    return serve({**ARGS, "shadow": shadow, **more})


def test_the_shadow_is_a_track_that_the_service_does_not_lead_to() -> None:
    program = shaded({**SHADOW, "replicas": 2})
    deployment = program.one("Deployment", "demo-shadow")
    assert environment(deployment, "fetch")["MODELOPS_MODEL_URI"] == B
    assert deployment.inputs["spec"]["replicas"] == 2
    labels = deployment.inputs["spec"]["template"]["metadata"]["labels"]
    assert not program.one("core/v1:Service", "demo").inputs["spec"]["selector"].items() <= labels.items()
    own = program.one("core/v1:Service", "demo-shadow").inputs["spec"]
    assert own["selector"].items() <= labels.items()
    assert breaks_restricted(deployment) == []


def test_the_servers_of_the_other_tracks_send_the_copies() -> None:
    program = shaded({**SHADOW, "percent": 20}, replicas=1, canary={"model_uri": B, "weight_percent": 50})
    for name in ("demo", "demo-canary"):
        server = environment(program.one("Deployment", name), "serve")
        assert server["MODELOPS_MIRROR_URL"] == "http://demo-shadow.ml.svc:8080"
        assert server["MODELOPS_MIRROR_PERCENT"] == "20"
    assert "MODELOPS_MIRROR_URL" not in environment(program.one("Deployment", "demo-shadow"), "serve")


def test_pods_may_reach_the_shadow() -> None:
    ports = shaded().one("NetworkPolicy", "demo").inputs["spec"]["egress"][0]["ports"]
    assert 8080 in [port["port"] for port in ports]


def test_the_service_does_not_wait_for_the_shadow() -> None:
    assert "demo-shadow" not in shaded().one("core/v1:Service", "demo").options["dependencies"]


def test_a_gateway_mirrors_with_its_own_filter() -> None:
    program = shaded({**SHADOW, "mirroring": "Gateway", "percent": 50}, route=GATEWAY)
    [rule] = program.one("HTTPRoute").inputs["spec"]["rules"]
    assert rule["filters"] == [
        {
            "type": "RequestMirror",
            "requestMirror": {"backendRef": {"name": "demo-shadow", "port": 8080}, "percent": 50},
        }
    ]
    assert "MODELOPS_MIRROR_URL" not in environment(program.one("Deployment", "demo"), "serve")


@pytest.mark.parametrize(
    ("shadow", "problem"),
    [
        ({"model_uri": "b"}, "shadow.model_uri is 'b', must be models:/<name>@<alias>"),
        ({**SHADOW, "percent": 0}, "shadow.percent is 0, must be 1 to 100"),
        ({**SHADOW, "replicas": 0}, "shadow.replicas is 0, must be 1 to 1000"),
        ({**SHADOW, "mirroring": "Gateway"}, "shadow.mirroring is Gateway, must be Server without a `route`"),
    ],
)
def test_each_error(shadow: dict[str, Any], problem: str) -> None:
    with pytest.raises(ArgumentsError) as caught:
        shaded(shadow)
    assert problem in str(caught.value)
