"""The plan of a patch: what it is for may only be made in the same update."""

from typing import Any

import pytest

from devkit.pulumi_plugins.kubernetes_provider.operations.requests import Resource
from devkit.pulumi_plugins.kubernetes_provider.operations.write import Writer

PATCH = Resource("urn:pulumi:test::test::kubernetes:core/v1:PersistentVolumeClaimPatch::data", "ml/data")
NEWS = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data", "namespace": "ml"}}


class Untouched:
    """Fails whatever it is used for."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"the cluster was asked for {name}")


@pytest.fixture
def writer() -> Writer:
    return Writer(Untouched(), Untouched())  # type: ignore[arg-type]


def test_a_planned_patch_is_shown_as_it_is_given(writer: Writer) -> None:
    assert writer.create(PATCH, NEWS, 60, preview=True).state == NEWS
    assert writer.update(PATCH, {}, NEWS, 60, [], preview=True).state == NEWS
