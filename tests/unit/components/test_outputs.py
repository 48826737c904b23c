"""Outputs that are known early and still wait."""

from typing import Any, cast

import pulumi
import pulumi_kubernetes as k8s
import pytest

from modelops.core.outputs import with_dependencies
from modelops.core.quantities import bytes_of
from modelops.kubernetes.network import port_of
from tests.unit.components.harness import run


def test_a_known_value_stays_known_in_a_plan_and_waits_for_the_resource() -> None:
    def build() -> dict[str, pulumi.Output[str]]:
        job = k8s.batch.v1.Job("job", metadata={"name": "job"})
        return {"found": pulumi.Output.concat("models:/", with_dependencies("linear", job))}

    found = run(build, preview=True).outputs["found"]
    assert (found.value, found.known, found.secret) == ("models:/linear", True, False)
    assert found.depends_on == {"job"}


def test_an_unknown_value_stays_unknown_and_a_secret_one_secret() -> None:
    def build() -> dict[str, pulumi.Output[str]]:
        job = k8s.batch.v1.Job("job", metadata={"name": "job"})
        unknown: pulumi.Output[Any] = job.metadata.apply(lambda _: cast(Any, pulumi.UNKNOWN))
        return {"unknown": with_dependencies(unknown, job), "secret": with_dependencies(pulumi.Output.secret("x"), job)}

    outputs = run(build, preview=True).outputs
    assert not outputs["unknown"].known
    assert outputs["secret"].secret


@pytest.mark.parametrize(
    ("url", "port"), [("http://a", 80), ("https://a/x", 443), ("http://a.b:5000", 5000), ("http://[::1]:81/", 81)]
)
def test_port_of_an_address(url: str, port: int) -> None:
    assert port_of(url) == port


@pytest.mark.parametrize(("quantity", "count"), [("10Gi", 10 * 2**30), ("1.5k", 1500), ("7", 7), ("2G", 2 * 10**9)])
def test_bytes_of_a_quantity(quantity: str, count: int) -> None:
    assert bytes_of(quantity) == count


def test_a_quantity_of_no_bytes_is_refused() -> None:
    with pytest.raises(ValueError, match="not a quantity of bytes"):
        bytes_of("500m")
