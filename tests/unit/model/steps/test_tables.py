"""Tables of Delta Lake and Iceberg, written by these libraries themselves."""

import base64
import json
import shutil
import struct
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from modelops_runtime.contract import ConfigurationError, ContractError, Exit
from modelops_runtime.data import prepare
from modelops_runtime.data.pipeline import Pipeline
from modelops_runtime.data.sources import source as sources
from modelops_runtime.data.sources.files import filesystem
from modelops_runtime.data.sources.rows import batches
from tests.conftest import REPOSITORY
from tests.stores import ObjectStore, server, store
from tests.unit.model.steps.test_same_values import ARROW as TYPES_OF_ROWS
from tests.unit.model.steps.test_same_values import PARTS, content, rows, run

__all__ = ["server", "store"]

deltalake = pytest.importorskip("deltalake", reason="needs model/requirements-prepare-tables.txt")
pytest.importorskip("pyiceberg", reason="needs model/requirements-prepare-tables.txt")

from pyiceberg.io.fsspec import FsspecFileIO, FsspecInputFile, FsspecOutputFile  # noqa: E402
from pyiceberg.types import LongType  # noqa: E402


def pinned(file: str) -> dict[str, str]:
    """The versions that a locked list names."""
    lines = (line.split("#")[0].strip() for line in (REPOSITORY / "model" / file).read_text().splitlines())
    listed = [Requirement(line) for line in lines if line]
    return {canonicalize_name(each.name): next(iter(each.specifier)).version for each in listed}


def test_what_the_image_adds_for_tables_fits_what_it_has() -> None:
    image, added = pinned("requirements-prepare.txt"), pinned("requirements-prepare-tables.txt")
    assert not image.keys() & added.keys()
    together, lacking = {**image, **added}, []
    for name in added:
        assert metadata.version(name) == added[name], f"the environment has another {name}"
        for needed in map(Requirement, metadata.requires(name) or []):
            wanted = needed.marker is None or needed.marker.evaluate({"extra": ""})
            version = together.get(canonicalize_name(needed.name))
            if wanted and (version is None or not needed.specifier.contains(version)):
                lacking.append(f"{name} needs {needed}, the lists have {version}")
    assert lacking == []


class StoreFiles(FsspecFileIO):
    """How PyIceberg writes to any of the object stores."""

    def new_input(self, location: str) -> FsspecInputFile:
        return FsspecInputFile(location, filesystem(location)[0])

    def new_output(self, location: str) -> FsspecOutputFile:
        return FsspecOutputFile(location, filesystem(location)[0])


SPLIT: list[dict[str, Any]] = [{"split": {}}]


class Written:
    """A table that a library writes."""

    def __init__(
        self, folder: Path, format_: str, schema: pa.Schema, partition_by: str | None = None, location: str = ""
    ) -> None:
        self.format, self.folder, self.schema, self._partition = format_, folder / "table", schema, partition_by
        if format_ == "delta":
            self.source: dict[str, Any] = {"uri": str(self.folder), "format": "delta"}
            return
        from pyiceberg.catalog.sql import SqlCatalog

        files = {"py-io-impl": f"{StoreFiles.__module__}.StoreFiles"} if location else {}
        catalog = SqlCatalog("test", uri=f"sqlite:///{folder}/catalog.db", warehouse=f"file://{folder}", **files)
        catalog.create_namespace("space")
        self.table = catalog.create_table("space.t", schema=schema, location=location or f"file://{self.folder}")
        if partition_by is not None:
            with self.table.update_spec() as spec:
                spec.add_identity(partition_by)
        self.source = {"uri": location or str(self.folder), "format": "iceberg"}

    def append(self, table: pa.Table) -> "Written":
        return self._write(table, "append")

    def overwrite(self, table: pa.Table) -> "Written":
        return self._write(table, "overwrite")

    def _write(self, table: pa.Table, mode: str) -> "Written":
        if self.format == "delta":
            by = [self._partition] if self._partition else None
            deltalake.write_deltalake(self.folder, table, mode=mode, schema_mode="merge", partition_by=by)
        else:
            if {*table.column_names} - {*self.table.schema().column_names}:
                with self.table.update_schema() as update:
                    update.union_by_name(table.schema)
            getattr(self.table, mode)(table)
        return self

    def delete(self, delta: str, iceberg: str) -> "Written":
        if self.format == "delta":
            deltalake.DeltaTable(self.folder).delete(delta)
        else:
            self.table.delete(iceberg)
        return self

    @property
    def version(self) -> int:
        if self.format == "delta":
            return int(deltalake.DeltaTable(self.folder).version())
        return int(self.table.current_snapshot().snapshot_id)


FORMATS = pytest.mark.parametrize("format_", ["delta", "iceberg"])
PLAIN = pa.schema([("x", pa.int64()), ("word", pa.string())])


def plain(first: int, count: int) -> pa.Table:
    return pa.table({"x": range(first, first + count), "word": [f"w{n}" for n in range(count)]}, schema=PLAIN)


def prepared(folder: Path, source: dict[str, Any], *words: str) -> pd.DataFrame:
    """All rows of the parts."""
    version = run(folder, source, *words, steps=SPLIT)
    return pd.concat([pd.read_parquet(version / part) for part in PARTS], ignore_index=True)


def report(folder: Path) -> dict[str, Any]:
    version = json.loads((folder / "latest.json").read_text())["data_version"]
    found: dict[str, Any] = json.loads((folder / version / "report.json").read_text())
    return found


@pytest.fixture(autouse=True)
def _salt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELOPS_SALT", "a salt of sixteen bytes or more")


def types_of(format_: str) -> pa.Schema:
    """Neither has whole numbers of 64 bits without a sign."""
    size = pa.decimal128(20, 0)
    return pa.schema([(name, size if name == "size" else kind) for name, kind in TYPES_OF_ROWS.items()])


@FORMATS
@pytest.mark.parametrize("words", [(), ("--shards", "3"), ("--engine", "dask")])
def test_a_table_gives_the_same_bytes_as_its_rows_in_parquet(
    tmp_path: Path, format_: str, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "CHUNK_ROWS", 7)
    schema = types_of(format_)
    table = pa.Table.from_pylist(rows(), schema=schema)
    written = Written(tmp_path, format_, schema).append(table.slice(0, 45)).append(table.slice(45))
    pq.write_table(table, tmp_path / "x.parquet")
    of_parquet = {"uri": str(tmp_path / "x.parquet"), "format": "parquet", "types": {"size": "unsigned"}}
    of_table = {**written.source, "types": {"size": "unsigned"}}
    engine = words if "dask" in words else ()
    one, other = run(tmp_path / "one", of_parquet, *engine), run(tmp_path / "other", of_table, *words)
    assert content(one) == content(other)


@FORMATS
def test_lists_and_objects_are_those_of_parquet(tmp_path: Path, format_: str) -> None:
    schema = pa.schema([("tags", pa.list_(pa.string())), ("who", pa.struct([("age", pa.int64())]))])
    cells = [{"tags": [f"t{n}", "u"], "who": {"age": n}} for n in range(30)]
    table = pa.Table.from_pylist(cells, schema=schema)
    pq.write_table(table, tmp_path / "x.parquet")
    one = run(tmp_path / "one", {"uri": str(tmp_path / "x.parquet"), "format": "parquet"}, steps=SPLIT)
    other = run(tmp_path / "other", Written(tmp_path, format_, schema).append(table).source, steps=SPLIT)
    assert content(one) == content(other)


@FORMATS
def test_the_newest_version_is_read_and_an_older_one_by_its_number(tmp_path: Path, format_: str) -> None:
    written = Written(tmp_path, format_, PLAIN).append(plain(0, 20))
    old = written.version
    written.append(plain(20, 20))
    assert sorted(prepared(tmp_path / "new", written.source)["x"]) == [*range(40)]
    [entry] = report(tmp_path / "new")["sources"]
    assert entry["table_version"] == written.version != old
    assert sorted(prepared(tmp_path / "old", {**written.source, "table_version": old})["x"]) == [*range(20)]
    assert report(tmp_path / "old")["sources"][0]["table_version"] == old


@FORMATS
def test_an_overwritten_table_has_its_new_rows_alone(tmp_path: Path, format_: str) -> None:
    written = Written(tmp_path, format_, PLAIN).append(plain(0, 20)).overwrite(plain(100, 30))
    assert sorted(prepared(tmp_path / "out", written.source)["x"]) == [*range(100, 130)]


@FORMATS
def test_deleted_rows_are_not_read(tmp_path: Path, format_: str) -> None:
    written = Written(tmp_path, format_, PLAIN).append(plain(0, 40)).delete("x < 7", "x < 7")
    assert sorted(prepared(tmp_path / "out", written.source)["x"]) == [*range(7, 40)]


@FORMATS
def test_a_column_that_came_later_is_missing_in_older_rows(tmp_path: Path, format_: str) -> None:
    later = plain(20, 20).append_column("extra", pa.array([1.5] * 20))
    written = Written(tmp_path, format_, PLAIN).append(plain(0, 20)).append(later)
    found = prepared(tmp_path / "out", written.source)
    assert [*found.columns] == ["x", "word", "extra"]
    assert sorted(found[found["extra"].isna()]["x"]) == [*range(20)]


@FORMATS
def test_a_column_of_partitions_stays_with_its_type_and_odd_values(tmp_path: Path, format_: str) -> None:
    schema = pa.schema([("x", pa.int64()), ("place", pa.string()), ("y", pa.float64())])
    places = ["a/b c", "ü=%20", "Zürich", None]
    table = pa.table({"x": range(40), "place": places * 10, "y": [0.5] * 40}, schema=schema)
    found = prepared(tmp_path / "out", Written(tmp_path, format_, schema, "place").append(table).source)
    assert [*found.columns] == ["x", "place", "y"]
    assert {x: None if pd.isna(place) else place for x, place in zip(found["x"], found["place"], strict=True)} == dict(
        enumerate(places * 10)
    )


@FORMATS
def test_partitions_of_numbers_and_dates_keep_their_types(tmp_path: Path, format_: str) -> None:
    for name, kind, values in (
        ("year", pa.int64(), [2023, 2024]),
        ("day", pa.date32(), [pd.Timestamp("2024-02-29").date(), pd.Timestamp("1969-12-31").date()]),
    ):
        folder = tmp_path / name
        folder.mkdir()
        schema = pa.schema([(name, kind), ("x", pa.int64())])
        table = pa.table({name: values * 20, "x": range(40)}, schema=schema)
        version = run(folder / "out", Written(folder, format_, schema, name).append(table).source, steps=SPLIT)
        found = pa.concat_tables(pq.read_table(version / part) for part in PARTS)
        assert found.schema.field(name).type == kind
        assert sorted(found.to_pylist(), key=lambda row: row["x"]) == table.to_pylist()


@FORMATS
def test_the_snapshot_is_part_of_the_version_and_where_the_table_is_not(tmp_path: Path, format_: str) -> None:
    written = Written(tmp_path, format_, PLAIN).append(plain(0, 20))

    def version(**more: Any) -> str:
        return Pipeline.parse({"sources": [{**written.source, **more}], "steps": SPLIT}).version(b"")

    first, number = version(), written.version
    assert version() == first == version(table_version=number)
    written.append(plain(20, 20))
    assert version() != first == version(table_version=number)
    if format_ == "delta":  # the other one's metadata has absolute addresses
        shutil.copytree(written.folder, tmp_path / "copy")
        assert version(uri=str(tmp_path / "copy")) == version()


@FORMATS
def test_all_workers_of_a_run_read_the_snapshot_that_the_first_one_found(tmp_path: Path, format_: str) -> None:
    written = Written(tmp_path, format_, PLAIN).append(plain(0, 20))
    before = written.version
    words = ["--pipeline", json.dumps({"sources": [written.source], "steps": SPLIT})]
    words += ["--destination", str(tmp_path / "out"), "--data-version", "v1", "--shards", "2"]
    prepare.main([*words, "--shard", "1"])
    written.append(plain(20, 20))
    prepare.main([*words, "--shard", "0"])
    found = pd.concat([pd.read_parquet(tmp_path / "out/v1" / part) for part in PARTS])
    assert sorted(found["x"]) == [*range(20)]
    made = json.loads((tmp_path / "out/v1/report.json").read_text())
    assert made["sources"][0]["table_version"] == before
    assert not [name for name in (tmp_path / "out").iterdir() if name.name.startswith(".")]


@FORMATS
def test_a_file_is_read_some_rows_at_a_time(tmp_path: Path, format_: str, monkeypatch: pytest.MonkeyPatch) -> None:
    written = Written(tmp_path, format_, PLAIN).append(plain(0, 1000))
    source = sources.Source(**written.source)
    sizes = [len(batch.table) for batch in batches(source, source.files()[0], 0, 90)]
    assert max(sizes) <= 90 and sum(sizes) == 1000


@FORMATS
def test_what_is_no_table_is_said(tmp_path: Path, format_: str) -> None:
    with pytest.raises(ContractError, match=r"nothing can't be read: there is no .* table") as caught:
        prepared(tmp_path / "out", {"uri": str(tmp_path / "nothing"), "format": format_})
    assert caught.value.code == Exit.UNREADABLE


@FORMATS
def test_a_version_that_is_not_there_is_said(tmp_path: Path, format_: str) -> None:
    written = Written(tmp_path, format_, PLAIN).append(plain(0, 20))
    with pytest.raises(ContractError, match="has no version 99: ") as caught:
        prepared(tmp_path / "out", {**written.source, "table_version": 99})
    assert caught.value.code == Exit.CONFIGURATION


@FORMATS
def test_an_empty_table_leaves_no_rows(tmp_path: Path, format_: str) -> None:
    written = Written(tmp_path, format_, PLAIN).append(plain(0, 20)).delete("x >= 0", "x >= 0")
    with pytest.raises(ContractError, match="leaves no rows") as caught:
        prepared(tmp_path / "out", written.source)
    assert caught.value.code == Exit.EMPTY


def test_a_version_without_a_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="table_version must be given with format: delta or iceberg alone"):
        prepared(tmp_path, {"uri": "x.csv", "table_version": 1})


@FORMATS
def test_a_data_file_that_is_gone_is_named(tmp_path: Path, format_: str) -> None:
    written = Written(tmp_path, format_, PLAIN).append(plain(0, 20))
    [gone] = written.folder.rglob("*.parquet")
    gone.unlink()
    with pytest.raises(ContractError, match=rf"{gone.name} can't be read: there is no such file"):
        prepared(tmp_path / "out", written.source)


@FORMATS
def test_values_are_refused_with_the_file_and_row(tmp_path: Path, format_: str) -> None:
    schema = pa.schema([("x", pa.float64())])
    written = Written(tmp_path, format_, schema).append(pa.table({"x": [1.0, float("inf")] * 9}, schema=schema))
    with pytest.raises(ContractError, match=r"\.parquet, row 1, column x: must be a finite number"):
        prepared(tmp_path / "out", written.source)


def z85(content: bytes) -> str:
    """ZeroMQ's spelling of bytes as text, by Python's, whose alphabet is another."""
    python = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~"
    zeromq = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
    return base64.b85encode(content, pad=True).decode().translate(str.maketrans(python, zeromq))


def with_deletion_vector(folder: Path, rows: list[int]) -> None:
    """What an engine commits that marks rows of a table's only file as deleted, as Delta Lake's protocol has it."""
    from pyroaring import BitMap

    log = folder / "_delta_log"
    [add] = [
        entry["add"]
        for file in sorted(log.glob("*.json"))
        for entry in map(json.loads, file.read_text().splitlines())
        if "add" in entry
    ]
    bitmap = struct.pack("<iqi", 1681511377, 1, 0) + BitMap(rows).serialize()
    vector = {"storageType": "i", "pathOrInlineDv": z85(bitmap.ljust(-(-len(bitmap) // 4) * 4, b"\0"))}
    vector |= {"sizeInBytes": len(bitmap), "cardinality": len(rows)}
    features = {"readerFeatures": ["deletionVectors"], "writerFeatures": ["deletionVectors"]}
    actions = [
        {"protocol": {"minReaderVersion": 3, "minWriterVersion": 7, **features}},
        {"remove": {"path": add["path"], "dataChange": True, "deletionTimestamp": 1}},
        {"add": {**add, "deletionVector": vector}},
    ]
    (log / f"{len([*log.glob('*.json')]):020}.json").write_text("\n".join(map(json.dumps, actions)))


@pytest.mark.parametrize("place", ["", "a/b ü=%20"])
def test_rows_that_a_deletion_vector_marks_are_not_read(
    tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "CHUNK_ROWS", 7)
    schema = pa.schema([*PLAIN, ("place", pa.string())])
    written = Written(tmp_path, "delta", schema, "place" if place else None)
    written.append(plain(0, 40).append_column("place", pa.array([place] * 40)))
    with_deletion_vector(written.folder, [0, 6, 7, 8, 39])
    assert sorted(prepared(tmp_path / "out", written.source)["x"]) == [
        n for n in range(40) if n not in (0, 6, 7, 8, 39)
    ]


def test_mapped_columns_are_refused_in_words(tmp_path: Path) -> None:
    written = Written(tmp_path, "delta", PLAIN).append(plain(0, 20))
    log = written.folder / "_delta_log"
    entries = [json.loads(line) for line in next(log.glob("*.json")).read_text().splitlines()]
    [metadata] = [entry["metaData"] for entry in entries if "metaData" in entry]
    fields = json.loads(metadata["schemaString"])
    for number, entry in enumerate(fields["fields"]):
        entry["metadata"] = {"delta.columnMapping.id": number + 1, "delta.columnMapping.physicalName": entry["name"]}
    mapped = {**metadata, "configuration": {"delta.columnMapping.mode": "name"}, "schemaString": json.dumps(fields)}
    features = {"readerFeatures": ["columnMapping"], "writerFeatures": ["columnMapping"]}
    actions = [{"protocol": {"minReaderVersion": 3, "minWriterVersion": 7, **features}}, {"metaData": mapped}]
    (log / f"{1:020}.json").write_text("\n".join(map(json.dumps, actions)))
    with pytest.raises(ContractError, match="is a table with columnMapping, which is not read here") as caught:
        prepared(tmp_path / "out", written.source)
    assert caught.value.code == Exit.CONFIGURATION


def with_deletes(written: Written, monkeypatch: pytest.MonkeyPatch, rows: list[int], content: Any) -> None:
    """What another engine commits that deletes rows by a file of their places, or of their values."""
    from pyiceberg.manifest import DataFile, FileFormat, ManifestContent, ManifestWriterV2
    from pyiceberg.typedef import Record

    table = written.table
    [task] = table.scan().plan_files()
    ids = {"file_path": b"2147483546", "pos": b"2147483545"}
    schema = pa.schema(
        [
            pa.field("file_path", pa.string(), nullable=False, metadata={b"PARQUET:field_id": ids["file_path"]}),
            pa.field("pos", pa.int64(), nullable=False, metadata={b"PARQUET:field_id": ids["pos"]}),
        ]
    )
    file = written.folder / "data" / "deletes.parquet"
    pq.write_table(pa.table({"file_path": [task.file.file_path] * len(rows), "pos": rows}, schema=schema), file)
    deletes = DataFile.from_args(
        content=content,
        file_path=f"file://{file}",
        file_format=FileFormat.PARQUET,
        partition=Record(),
        record_count=len(rows),
        file_size_in_bytes=file.stat().st_size,
        spec_id=table.spec().spec_id,
    )
    with monkeypatch.context() as patched:
        patched.setattr(ManifestWriterV2, "content", lambda _self: ManifestContent.DELETES)
        with table.transaction() as transaction, transaction.update_snapshot().fast_append() as update:
            update.append_data_file(deletes)


def test_rows_that_a_file_of_positions_deletes_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pyiceberg.manifest import DataFileContent

    monkeypatch.setattr(sources, "CHUNK_ROWS", 7)
    written = Written(tmp_path, "iceberg", PLAIN).append(plain(0, 40))
    with_deletes(written, monkeypatch, [0, 6, 7, 39], DataFileContent.POSITION_DELETES)
    assert sorted(prepared(tmp_path / "out", written.source)["x"]) == [n for n in range(40) if n not in (0, 6, 7, 39)]


def test_deletes_by_value_are_refused_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pyiceberg.manifest import DataFileContent

    written = Written(tmp_path, "iceberg", PLAIN).append(plain(0, 40))
    with_deletes(written, monkeypatch, [1], DataFileContent.EQUALITY_DELETES)
    with pytest.raises(ContractError, match="it has equality deletes: compact it before") as caught:
        prepared(tmp_path / "out", written.source)
    assert caught.value.code == Exit.UNREADABLE


def test_a_renamed_and_a_wider_column_are_those_of_all_rows(tmp_path: Path) -> None:
    schema = pa.schema([("x", pa.int32()), ("word", pa.string())])
    written = Written(tmp_path, "iceberg", schema).append(plain(0, 20).cast(schema))
    with written.table.update_schema() as update:
        update.rename_column("word", "label")
        update.update_column("x", LongType())
    large = pa.table({"x": [2**40 + n for n in range(20)], "label": ["new"] * 20})
    written.append(large)
    found = prepared(tmp_path / "out", written.source)
    assert sorted(found["x"]) == [*range(20), *large["x"].to_pylist()]
    assert sorted(found["label"]) == sorted([f"w{n}" for n in range(20)] + ["new"] * 20)


def test_a_renamed_column_has_its_new_name_before_rows_come_and_its_old_one_in_an_old_version(tmp_path: Path) -> None:
    written = Written(tmp_path, "iceberg", PLAIN).append(plain(0, 20))
    with written.table.update_schema() as update:
        update.rename_column("word", "label")
    assert [*prepared(tmp_path / "new", written.source, "--shards", "2").columns] == ["x", "label"]
    old = {**written.source, "table_version": written.version}
    assert [*prepared(tmp_path / "old", old).columns] == ["x", "word"]


def test_a_table_is_known_by_its_metadata_file_too(tmp_path: Path) -> None:
    written = Written(tmp_path, "iceberg", PLAIN).append(plain(0, 20))
    old = written.table.metadata_location
    written.append(plain(20, 20))
    assert sorted(prepared(tmp_path / "out", {**written.source, "uri": old})["x"]) == [*range(20)]


def test_two_newest_metadata_files_are_a_doubt_and_a_hint_settles_it(tmp_path: Path) -> None:
    written = Written(tmp_path, "iceberg", PLAIN).append(plain(0, 20))
    newest = Path(written.table.metadata_location.removeprefix("file://"))
    shutil.copy(newest, newest.with_name(newest.name.partition("-")[0] + "-left-by-a-failed-commit.metadata.json"))
    with pytest.raises(ContractError, match="has several newest metadata files: give the uri of the one") as caught:
        prepared(tmp_path / "out", written.source)
    assert caught.value.code == Exit.CONFIGURATION
    shutil.copy(newest, newest.with_name("v7.metadata.json"))
    newest.with_name("version-hint.text").write_text("7")
    assert len(prepared(tmp_path / "out", written.source)) == 20


def test_delta_tables_are_read_from_an_object_store(store: ObjectStore, tmp_path: Path) -> None:
    written = Written(tmp_path, "delta", PLAIN, "word").append(plain(0, 20)).append(plain(20, 20))
    for file in written.folder.rglob("*"):
        if file.is_file():
            store.put(f"table/{file.relative_to(written.folder)}", file.read_bytes())
    source = {**written.source, "uri": f"{store.uri}/table"}
    assert sorted(prepared(tmp_path / "out", source)["x"]) == [*range(40)]
    for shard in (1, 0):
        words = ["--shards", "2", "--shard", str(shard)]
        declared = ["--pipeline", json.dumps({"sources": [source], "steps": SPLIT})]
        prepare.main([*declared, "--destination", f"{store.uri}/out", "--data-version", "v1", *words])
    assert [name for name in store.names() if "/." in name] == []


def test_iceberg_tables_are_read_from_an_object_store(store: ObjectStore, tmp_path: Path) -> None:
    written = Written(tmp_path, "iceberg", PLAIN, location=f"{store.uri}/table").append(plain(0, 20))
    assert sorted(prepared(tmp_path / "out", written.source)["x"]) == [*range(20)]


def test_a_pod_without_the_libraries_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for format_, name in (("delta", "deltalake"), ("iceberg", "pyiceberg.io.pyarrow")):
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(ConfigurationError, match=rf"needs the package {name}: build the image with EXTRAS=tables"):
            prepared(tmp_path / "out", {"uri": str(tmp_path), "format": format_})
