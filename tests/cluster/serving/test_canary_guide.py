"""docs/how-to/canary.md, done as it says."""

import re
from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import pulumi
import pulumi_kubernetes as k8s
import pytest

import modelops
from tests.cluster.provider.harness import Stack
from tests.cluster.serving.canary_support import analysis_record, prometheus_program
from tests.cluster.serving.support import SMALL, Serving, released, versions
from tests.cluster.support import REPOSITORY, eventually, platform_facts
from tests.load import INPUTS, load, send_requests

pytestmark = [pytest.mark.serving, pytest.mark.long]

PAGE = (REPOSITORY / "docs" / "how-to" / "canary.md").read_text()
WORKED = PAGE.partition("## A canary from 10 % to promoted")[2].partition("\n## ")[0]
BEFORE, JOINS, AFTER = re.findall(r"```python\n(.*?)```", WORKED, re.DOTALL)
Program = Callable[[k8s.Provider], Mapping[str, Any]]


@pytest.fixture(scope="module")
def prometheus_url(serving: Serving, platform_env: dict[str, str]) -> str:
    stack = serving.new_stack()
    stack.up(prometheus_program("guide", serving, platform_facts()))
    return str(stack.outputs()["prometheus_url"])


@pytest.fixture(scope="module")
def program(serving: Serving, prometheus_url: str) -> Callable[[str], Program]:
    """Makes a program of a snippet: in the test namespace, with small pods that may be slow on a busy machine."""
    old, new = serving.uri("double"), serving.uri("twin")

    def make(snippet: str) -> Program:
        def build(provider: k8s.Provider) -> Mapping[str, Any]:
            def service(name: str, args: dict[str, Any]) -> modelops.ModelService:
                args |= {"namespace": serving.namespace, "resources": SMALL, "rollout": {"max_surge": 3}}
                if "canary" in args:
                    args["canary"]["analysis"]["max_p99_ratio"] = 20
                return modelops.ModelService(name, args, pulumi.ResourceOptions(provider=provider))  # type: ignore[arg-type]

            names: dict[str, Any] = {
                "pulumi": pulumi,
                "ModelService": service,
                "image": SimpleNamespace(ref=serving.image),
                "registry": SimpleNamespace(tracking_uri=serving.tracking_uri),
                "monitoring": SimpleNamespace(prometheus_url=prometheus_url),
                "old": old,
                "new": new,
            }
            exec(snippet, names)
            return {"predict_url": names["service"].predict_url}

        return build

    return make


@pytest.fixture(scope="module")
def stack(serving: Serving, program: Callable[[str], Program]) -> Iterator[Stack]:
    yield from serving.deployed(program(BEFORE))


def test_a_canary_from_ten_percent_to_promoted(
    serving: Serving, stack: Stack, program: Callable[[str], Program], figure: Callable[[str], None]
) -> None:
    url = stack.outputs()["predict_url"]
    with load(url, callers=4, inputs=INPUTS) as result:
        stack.up(program(JOINS))
        assert stack.outputs()["canary"]["verdict"] == "hold"
        assert len(serving.pods("linear", track="canary")) == 1
        eventually(lambda: analysis_record(serving.namespace, "linear").get("verdict") == "promote", 300, 3)
        assert released(stack.preview(program(JOINS))) == {"linear": ["update"], "linear-canary": ["update"]}
        stack.up(program(JOINS))
        said = stack.outputs()["canary"]
        figure(f"worked canary: {said}")
        assert (said["verdict"], said["stable_model_uri"]) == ("promote", serving.uri("twin"))
        assert serving.pods("linear", track="canary") == []
        assert versions(serving.pods("linear", track="stable")) == {"twin"}
        stack.unchanged(program(JOINS))
        pods = {pod["metadata"]["uid"] for pod in serving.pods("linear")}
        stack.up(program(AFTER))
        assert {pod["metadata"]["uid"] for pod in serving.pods("linear")} == pods
        send_requests(url, 100)
    figure(f"worked canary: {result.total} requests all along, {len(result.failed)} failed")
    assert not result.failed
