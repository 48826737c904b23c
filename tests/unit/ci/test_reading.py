"""What is read of a preview: encodings, hidden characters, leftovers of interrupted updates, imports."""

import json
import re
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preview_comment import main
from previews import reading, render
from previews.stores import holds_data
from previews.visible import visible
from tests.conftest import REPOSITORY

VOLUME = "urn:pulumi:dev::app::kubernetes:core/v1:PersistentVolumeClaim::data"


def step(op: str, urn: str = VOLUME, **old: object) -> dict[str, object]:
    sides = {} if op in ("create", "import") else {"oldState": {"custom": True, "inputs": {"a": 1}, **old}}
    if "delete" not in op:
        sides["newState"] = {"custom": True, "inputs": {"a": 2}}
    return {"op": op, "urn": urn, **sides}


def comment(*steps: dict[str, object], host: str = "text", **document: object) -> str:
    return render.render([reading.read(json.dumps({"steps": steps, **document}), source="p")], host)


# --- Encodings

PREVIEW = json.dumps({"steps": [step("create")], "diagnostics": [{"severity": "warning", "message": "größer"}]})
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_preview_is_read_in_any_encoding_of_unicode(
    encoding: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "p.json").write_bytes(PREVIEW.replace(", ", ",\r\n").encode(encoding))
    assert main([str(tmp_path / "p.json")], {}) == 0
    shown = capsys.readouterr().out
    assert "- dev: creates 1" in shown and "größer" in json.loads(f'"{shown.split("warnings 1")[1].strip()}"')


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_logs_and_events_are_read_so_too(encoding: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    event = {"policyEvent": {"resourceUrn": VOLUME, "policyName": "limits", "message": "set limits"}}
    (tmp_path / "p.json").write_text(PREVIEW)
    (tmp_path / "log").write_bytes("\x1b[31merror:\x1b[0m größer\r\nthan\r\n".encode(encoding))
    (tmp_path / "events").write_bytes(f"{json.dumps(event)}\r\n{json.dumps(event)}\r\n".encode(encoding))
    given = [str(tmp_path / "p.json"), "--failed", f"prod={tmp_path / 'log'}", "--events", f"dev={tmp_path / 'events'}"]
    assert main(given, {}) == 0
    shown = capsys.readouterr().out
    assert "  prod: error: größer\n  than" in shown and shown.count("policy limits on data: set limits") == 1


def test_a_log_that_is_no_text_is_shown_as_far_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "log").write_bytes(b"error: gr\xf6\xdfer than 1\n")
    assert main(["--failed", f"prod={tmp_path / 'log'}"], {}) == 0
    assert "error: gr\ufffd\ufffder than 1" in capsys.readouterr().out


def test_neither_a_pipe_nor_a_terminal_of_another_encoding_matters() -> None:
    command = [sys.executable, "-S", str(REPOSITORY / "ci" / "preview_comment.py"), "-"]
    environment = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = subprocess.run(command, input=PREVIEW.encode("utf-16"), capture_output=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert "creates 1" in done.stdout.decode()


# --- Hidden characters

HIDDEN = st.sampled_from(
    [chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")]
)
"""By Unicode's own categories: of control, format, surrogates, private use, separators of lines."""


@given(before=st.text(max_size=5), sign=HIDDEN, after=st.text(max_size=5))
def test_no_hidden_character_is_left(before: str, sign: str, after: str) -> None:
    for shown in (visible(before + sign + after, lines=False), visible(before + sign + after).replace("\n", "")):
        assert all(
            unicodedata.category(each) not in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp") or each == "\t" for each in shown
        )


@given(st.text(st.characters(categories=["L", "N", "P", "S"], max_codepoint=0x7E)))
def test_a_text_of_visible_characters_stays_as_it_is(text: str) -> None:
    assert visible(text) == text


@pytest.mark.parametrize(
    ("sign", "shown"),
    [
        ("\u202e", "\\u202e"),
        ("\u2066", "\\u2066"),
        ("\u200b", "\\u200b"),
        ("\u00ad", "\\xad"),
        ("\ufeff", "\\ufeff"),
        ("\x1b", "\\x1b"),
        ("\x00", "\\x00"),
        ("\r", "\\x0d"),
        ("\u2028", "\\u2028"),
        ("\U000e0041", "\\U000e0041"),
        ("\ufe0f", "\\ufe0f"),
        ("\u3164", "\\u3164"),
        ("\ud800", "\\ud800"),
    ],
)
@pytest.mark.parametrize("host", ["github", "text"])
def test_a_hidden_character_is_shown_wherever_it_stands(sign: str, shown: str, host: str) -> None:
    place = f"a{sign}b"
    urn = f"urn:pulumi:dev::app::kubernetes:core/v1:ConfigMap::{place}"
    old, new = (
        {"custom": True, "inputs": {"data": {place: value, "lines": f"1\n{value}\n"}}} for value in (place, "b")
    )
    body = comment(
        {"op": "update", "urn": urn, "oldState": old, "newState": new},
        {"op": "create", "urn": urn + "2", "newState": {"custom": True}},
        host=host,
        diagnostics=[{"severity": "error", "message": place}, {"severity": "warning", "message": place}],
    )
    assert sign not in body and body.count(f"a{shown}b".replace("\\", "\\")) >= 5


def test_a_name_with_a_line_break_makes_no_line_of_its_own() -> None:
    body = comment(step("create", VOLUME + "\n- Namespace prod"))
    assert "+ PersistentVolumeClaim data\\x0a- Namespace prod" in body


@pytest.mark.parametrize("name", ["my_model", "a[0]", "*bold*", "`code`", "~x~", "a|b", "a\\b"])
def test_a_name_stands_in_a_summary_as_it_is(name: str) -> None:
    """The line is HTML: Markdown's signs have no meaning there, and its escapes would be shown."""
    urn = f"urn:pulumi:dev::app::kubernetes:core/v1:ConfigMap::{name}"
    old, new = ({"custom": True, "inputs": {"data": {"a": value}}} for value in "12")
    body = comment({"op": "update", "urn": urn, "oldState": old, "newState": new}, host="github")
    assert f"<details><summary>update ConfigMap {name}</summary>\n" in body


def test_a_name_in_a_summary_is_no_markup_and_mentions_nobody() -> None:
    urn = "urn:pulumi:dev::app::kubernetes:core/v1:ConfigMap::<b>@all</b>#1"
    old, new = ({"custom": True, "inputs": {"data": {"a": value}}} for value in "12")
    body = comment({"op": "update", "urn": urn, "oldState": old, "newState": new}, host="github")
    [summary] = re.findall("<summary>(.*)</summary>", body)
    assert not re.search("[<>@]|#1", summary) and "&#60;b&#62;&#64;all" in summary


# --- Leftovers and imports


def test_what_an_interrupted_update_left_is_no_replacement() -> None:
    body = comment(step("same"), step("delete-replaced", delete=True))
    assert "- dev: removes 1 leftover of an interrupted update" in body and "replace" not in body.replace(
        "replaced", ""
    )
    assert (
        "data dev: what an interrupted update left of PersistentVolumeClaim data is deleted: its data is lost" in body
    )
    assert "- PersistentVolumeClaim data (left by an interrupted update)" in body


@pytest.mark.parametrize("order", [1, -1])
def test_a_leftover_beside_an_update_hides_neither(order: int) -> None:
    steps = [step("update"), step("delete-replaced", delete=True)]
    body = comment(*steps[::order])
    assert "- dev: removes 1 leftover of an interrupted update, changes 1" in body
    assert "update PersistentVolumeClaim data" in body and "what an interrupted update left" in body


@pytest.mark.parametrize("replacing", ["replace", "create-replacement"])
def test_a_leftover_beside_another_replacement_is_told_with_it(replacing: str) -> None:
    body = comment(step(replacing), step("delete-replaced"), step("delete-replaced", delete=True))
    assert "- dev: replaces 1, removes 1 leftover of an interrupted update" in body
    assert "PersistentVolumeClaim data is replaced" in body and "what an interrupted update left" in body


def test_a_leftover_of_something_without_data_is_told() -> None:
    urn = VOLUME.replace("PersistentVolumeClaim", "ConfigMap")
    assert "removes 1 leftover of an interrupted update" in comment(step("delete-replaced", urn))


def test_an_import_is_told() -> None:
    urn = "urn:pulumi:dev::app::aws:s3/bucket:Bucket::models"
    body = comment(step("import", urn))
    assert "- dev: adopts 1" in body and "adopt 1" in body and "= Bucket models" in body
    assert "replaces 1" in comment(step("import-replacement", urn))


def test_an_operation_of_a_later_engine_is_a_change() -> None:
    assert "changes 1" in comment(step("rename"))


# --- Data outside of Kubernetes


@pytest.mark.parametrize(
    "type_",
    [
        "aws:rds/instance:Instance",
        "aws:rds/cluster:Cluster",
        "aws:s3/bucket:Bucket",
        "aws:s3/bucketV2:BucketV2",
        "aws:s3/bucketObjectv2:BucketObjectv2",
        "aws:dynamodb/table:Table",
        "aws:ebs/volume:Volume",
        "aws:ebs/snapshot:Snapshot",
        "aws:efs/fileSystem:FileSystem",
        "aws:elasticache/replicationGroup:ReplicationGroup",
        "aws:opensearch/domain:Domain",
        "aws:redshift/cluster:Cluster",
        "aws:ecr/repository:Repository",
        "aws:kms/key:Key",
        "aws:cognito/userPool:UserPool",
        "aws:kinesis/stream:Stream",
        "aws-native:rds:DbInstance",
        "aws-native:dynamodb:Table",
        "gcp:storage/bucket:Bucket",
        "gcp:sql/databaseInstance:DatabaseInstance",
        "gcp:compute/disk:Disk",
        "gcp:compute/regionDisk:RegionDisk",
        "gcp:bigquery/dataset:Dataset",
        "gcp:spanner/instance:Instance",
        "gcp:filestore/instance:Instance",
        "gcp:redis/instance:Instance",
        "gcp:alloydb/cluster:Cluster",
        "google-native:storage/v1:Bucket",
        "azure-native:sql:Database",
        "azure-native:sql/v20211101:Server",
        "azure-native:storage:StorageAccount",
        "azure-native:storage:BlobContainer",
        "azure-native:storage:FileShare",
        "azure-native:compute:Disk",
        "azure-native:documentdb:DatabaseAccount",
        "azure-native:dbforpostgresql:Server",
        "azure-native:cache:Redis",
        "azure-native:keyvault:Vault",
        "azure-native:resources:ResourceGroup",
        "azure:storage/account:Account",
        "azure:compute/managedDisk:ManagedDisk",
        "azure:mssql/database:Database",
        "azure:cosmosdb/account:Account",
        "digitalocean:index/databaseCluster:DatabaseCluster",
        "digitalocean:index/volume:Volume",
        "digitalocean:index/spacesBucket:SpacesBucket",
        "hcloud:index/volume:Volume",
        "linode:index/objectStorageBucket:ObjectStorageBucket",
        "openstack:blockstorage/volume:Volume",
        "openstack:objectstorage/container:Container",
        "scaleway:databases/instance:Instance",
        "alicloud:oss/bucket:Bucket",
        "alicloud:rds/instance:Instance",
        "oci:ObjectStorage/bucket:Bucket",
        "oci:Database/autonomousDatabase:AutonomousDatabase",
        "yandex:index/mdbPostgresqlCluster:MdbPostgresqlCluster",
        "mongodbatlas:index/cluster:Cluster",
        "aiven:index/mySql:MySql",
        "snowflake:index/database:Database",
        "cloudflare:index/workersKvNamespace:WorkersKvNamespace",
        "minio:index/s3Bucket:S3Bucket",
        "docker:index/volume:Volume",
        "kubernetes:postgresql.cnpg.io/v1:Cluster",
        "kubernetes:s3.aws.upbound.io/v1beta1:Bucket",
        "kubernetes:rds.services.k8s.aws/v1alpha1:DBInstance",
        "kubernetes:snapshot.storage.k8s.io/v1:VolumeSnapshot",
        "kubernetes:kafka.strimzi.io/v1beta2:Kafka",
        "kubernetes:helm.sh/v3:Release",
    ],
)
def test_deleting_or_replacing_what_holds_data_is_a_risk_for_it(type_: str) -> None:
    urn = f"urn:pulumi:dev::app::{type_}::thing"
    kind = type_.rpartition(":")[2]
    assert f"data dev: {kind} thing is deleted: " in comment(step("delete", urn))
    assert f"data dev: {kind} thing is replaced: " in comment(step("replace", urn))


@pytest.mark.parametrize(
    "type_",
    [
        "aws:s3/bucketPolicy:BucketPolicy",
        "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock",
        "aws:ec2/routeTable:RouteTable",
        "aws:ec2/volumeAttachment:VolumeAttachment",
        "aws:ec2/securityGroup:SecurityGroup",
        "aws:rds/parameterGroup:ParameterGroup",
        "aws:rds/subnetGroup:SubnetGroup",
        "aws:ecr/repositoryPolicy:RepositoryPolicy",
        "aws:iam/group:Group",
        "aws:eks/cluster:Cluster",
        "aws:ecs/cluster:Cluster",
        "aws:sns/topic:Topic",
        "aws:kms/alias:Alias",
        "aws:iam/accessKey:AccessKey",
        "gcp:sql/user:User",
        "gcp:storage/bucketIAMMember:BucketIAMMember",
        "gcp:compute/backendBucket:BackendBucket",
        "gcp:container/cluster:Cluster",
        "azure-native:sql:FirewallRule",
        "azure-native:network:RouteTable",
        "azure-native:containerservice:ManagedCluster",
        "digitalocean:index/databaseFirewall:DatabaseFirewall",
        "random:index/randomPassword:RandomPassword",
        "docker-build:index:Image",
        "kubernetes:kueue.x-k8s.io/v1beta1:LocalQueue",
        "kubernetes:source.toolkit.fluxcd.io/v1:GitRepository",
        "kubernetes:cluster.x-k8s.io/v1beta1:Cluster",
        "kubernetes:storage.k8s.io/v1:VolumeAttachment",
        "kubernetes:core/v1:ConfigMap",
    ],
)
def test_what_only_belongs_to_a_store_is_no_data(type_: str) -> None:
    assert not holds_data(type_)


def test_what_stays_outside_of_the_cluster_is_told_so() -> None:
    urn = "urn:pulumi:dev::app::aws:s3/bucket:Bucket::models"
    assert "Bucket models leaves the stack and stays\n" in comment(step("delete", urn, retainOnDelete=True))
    assert "Bucket models is protected" in comment(step("delete", urn, protect=True))
