"""Dynamic volumes: made for the node that the scheduler chose, removed with their data."""

from pathlib import Path
from typing import Any

import pytest

from devkit.embedded.agent import volumes
from devkit.embedded.agent.api import ApiError, Object

CLASS = {
    "metadata": {"name": "local-path"},
    "provisioner": volumes.PROVISIONER,
    "reclaimPolicy": "Delete",
    "volumeBindingMode": "WaitForFirstConsumer",
}


def claim(node: str | None = "node", storage_class: str = "local-path", **spec: Any) -> Object:
    """A claim that waits for its volume."""
    annotations = {"volume.kubernetes.io/selected-node": node} if node else {}
    return {
        "metadata": {"namespace": "demo", "name": "data", "uid": "1234567890", "annotations": annotations},
        "spec": {
            "storageClassName": storage_class,
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
            **spec,
        },
    }


class FakeApi:
    """Serves the storage class and remembers what was made and deleted."""

    def __init__(self, status: int = 0) -> None:
        self.made: list[Object] = []
        self.deleted: list[str] = []
        self._status = status

    def call(self, method: str, path: str, body: Object | None = None, content_type: str = "") -> Object:
        if method == "GET":
            return {"items": [CLASS]}
        if self._status:
            raise ApiError(self._status, "refused")
        if method == "POST" and body is not None:
            self.made.append(body)
        if method == "DELETE":
            self.deleted.append(path)
        return {}


def test_claim_gets_a_folder_that_any_user_of_the_pod_may_write(tmp_path: Path) -> None:
    api = FakeApi()
    volumes.reconcile_claims(api, [claim()], tmp_path)  # type: ignore[arg-type]
    (made,) = api.made
    folder = Path(made["spec"]["local"]["path"])
    assert folder == tmp_path / "pvc-1234567890"
    assert folder.stat().st_mode & 0o777 == 0o777
    assert made["spec"]["claimRef"]["uid"] == "1234567890"
    assert made["spec"]["persistentVolumeReclaimPolicy"] == "Delete"
    terms = made["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"]
    assert terms[0]["matchExpressions"][0]["values"] == ["node"]


def test_claim_waits_for_its_first_consumer(tmp_path: Path) -> None:
    api = FakeApi()
    volumes.reconcile_claims(api, [claim(node=None)], tmp_path)  # type: ignore[arg-type]
    assert api.made == []


@pytest.mark.parametrize("other", [claim(storage_class="other"), claim(volumeName="pvc-1")])
def test_other_claims_are_left_alone(tmp_path: Path, other: Object) -> None:
    api = FakeApi()
    volumes.reconcile_claims(api, [other], tmp_path)  # type: ignore[arg-type]
    assert api.made == []


def test_block_volume_is_refused_with_an_event(tmp_path: Path) -> None:
    api = FakeApi()
    volumes.reconcile_claims(api, [claim(volumeMode="Block")], tmp_path)  # type: ignore[arg-type]
    assert [entry["kind"] for entry in api.made] == ["Event"]
    assert "volumeMode" in api.made[0]["message"]


def test_volume_made_before_is_no_error(tmp_path: Path) -> None:
    volumes.reconcile_claims(FakeApi(status=409), [claim()], tmp_path)  # type: ignore[arg-type]


def released(path: Path, policy: str = "Delete", owner: str = volumes.PROVISIONER) -> Object:
    """A volume whose claim is gone."""
    made = volumes.volume_for(claim(), CLASS, "node", path)
    made["metadata"]["annotations"]["pv.kubernetes.io/provisioned-by"] = owner
    made["spec"]["persistentVolumeReclaimPolicy"] = policy
    return {**made, "status": {"phase": "Released"}}


def test_released_volume_goes_with_its_data(tmp_path: Path) -> None:
    folder = tmp_path / "pvc-1234567890"
    folder.mkdir()
    (folder / "file").write_text("data")
    api = FakeApi()
    volumes.reconcile_volumes(api, [released(folder)], tmp_path)  # type: ignore[arg-type]
    assert not folder.exists()
    assert api.deleted == ["/api/v1/persistentvolumes/pvc-1234567890"]


def test_retained_and_foreign_volumes_stay(tmp_path: Path) -> None:
    folder = tmp_path / "pvc-1234567890"
    folder.mkdir()
    api = FakeApi()
    both = [released(folder, policy="Retain"), released(folder, owner="someone/else")]
    volumes.reconcile_volumes(api, both, tmp_path)  # type: ignore[arg-type]
    assert folder.exists()
    assert api.deleted == []


def test_folder_outside_ours_is_never_removed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    volumes.reconcile_volumes(FakeApi(), [released(outside)], tmp_path / "volumes")  # type: ignore[arg-type]
    assert outside.exists()
