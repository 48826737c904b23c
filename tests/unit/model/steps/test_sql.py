"""Queries of a real SQLite and a real PostgreSQL: one snapshot, exact values, streamed, and no secret in a message."""

import json
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy
from hypothesis import given, settings
from hypothesis import strategies as st

from modelops_runtime.contract import Exit
from modelops_runtime.data import prepare
from modelops_runtime.data.pipeline import Pipeline
from modelops_runtime.data.sources import sql
from modelops_runtime.data.sources.rows import chunks
from modelops_runtime.data.sources.source import Source
from modelops_runtime.data.steps import Context, DataError
from tests import postgres
from tests.conftest import REPOSITORY

POSTGRES = "postgresql+psycopg2"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgres.running() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database's address."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/data.db"
        run(url, "PRAGMA journal_mode=WAL")
        return url
    url = str(request.getfixturevalue("server"))
    run(url, "DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    return url


def run(url: str, *statements: str) -> None:
    engine = sqlalchemy.create_engine(url.replace("postgresql:", f"{POSTGRES}:"))
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    engine.dispose()


def source(url: str, query: str) -> Source:
    return Source(uri=url, format="sql", query=query)


def rows(source: Source, at_once: int = 1000) -> pd.DataFrame:
    return pd.concat(chunks(source, source.files(), rows=at_once))


def result(url: str, query: str, at_once: int) -> sql.Result:
    return sql.Result(url, query, at_once)


def cells(made: sql.Result) -> list[dict[str, Any]]:
    return [row for frame in made.read(1000) for row in frame.to_dict("records")]


NUMBERS = "CREATE TABLE t (n BIGINT, x DOUBLE PRECISION)"


def fill(url: str, count: int, table: str = NUMBERS) -> None:
    values = ", ".join(f"({n}, {n / 2})" for n in range(count))
    run(url, table, f"INSERT INTO t VALUES {values}")


def test_the_version_s_rows_are_those_that_are_prepared(database: str) -> None:
    fill(database, 100)
    query = source(database, "SELECT n FROM t ORDER BY n")
    before = query.digest()
    run(database, "DELETE FROM t WHERE n < 50", "INSERT INTO t VALUES (1000, 1)")
    assert rows(query)["n"].tolist() == list(range(100)) and query.digest() == before
    assert source(database, "SELECT n FROM t ORDER BY n").digest() != before


def test_what_is_written_while_rows_are_read_is_not_among_them(database: str) -> None:
    fill(database, 100)
    parts = sql._read(database, "SELECT n FROM t ORDER BY n", 10)
    read = list(next(parts)[1])
    run(database, "DELETE FROM t WHERE n >= 50", "INSERT INTO t VALUES (1000, 1)", "UPDATE t SET n = -1 WHERE n = 30")
    read += [row for _names, some in parts for row in some]
    assert [n for (n,) in read] == list(range(100))


def test_shards_prepare_one_snapshot_as_one_worker_does(database: str, tmp_path: Path) -> None:
    (tmp_path / "more.csv").write_text("n,x\n" + "".join(f"{n},{n}\n" for n in range(1000, 1030)))
    fill(database, 60)
    csv = {"uri": str(tmp_path / "more.csv"), "types": {"n": "number", "x": "number"}}
    query = {"uri": database, "format": "sql", "query": "SELECT n, x FROM t ORDER BY n"}
    pipeline = {"sources": [csv, query], "steps": [{"split": {"seed": 1}}]}

    def prepared(name: str, shards: int) -> tuple[str, list[Any], Any]:
        words = ["--pipeline", json.dumps(pipeline), "--destination", str(tmp_path / name), "--shards", str(shards)]
        for shard in [*range(1, shards), 0]:
            if shard == 0:
                # As it was, whatever the other workers could have seen.
                run(database, "DELETE FROM t WHERE n = -7")
            else:
                run(database, "INSERT INTO t VALUES (-7, 0)")
            prepare.main([*words, "--shard", str(shard)])
        version = json.loads((tmp_path / name / "latest.json").read_text())["data_version"]
        folder = tmp_path / name / version
        frames = [pd.read_parquet(folder / part)["n"].tolist() for part in ("train", "validation", "test")]
        return version, frames, json.loads((folder / "report.json").read_text())

    alone, shared = prepared("one", 1), prepared("three", 3)
    assert alone == shared
    assert sorted(n for part in shared[1] for n in part) == [*range(60), *range(1000, 1030)]
    assert [told["format"] for told in shared[2]["sources"]] == ["csv", "sql"]
    assert shared[2]["sources"][1]["ordered"] is True


LITERALS = {
    "sqlite": """1 | 1.0 | '1' | '1.0' | '' | NULL | 'None' | X'31' | X'' | 'true' | 1e-300 | 2e-300 | 0.1 | -0.0
        | 0.10000000000000002 | 9007199254740993 | 9007199254740992 | 9007199254740992.0 | '2024-01-01'""",
    "postgresql": """1 | 1.0::float8 | 1::numeric | 1.0::numeric | 1.00::numeric | '1' | true | 'true' | '' | NULL::int4
        | '\\x31'::bytea | '\\x'::bytea | 1e-300::float8 | 2e-300::float8 | 'NaN'::float8 | 1e-20::numeric | 0::numeric
        | 9007199254740993::int8 | 9007199254740992::int8 | time '00:00:00.000001' | time '00:00' | '[1]' | ARRAY[1, 1]
        | timestamp '2024-01-01 00:00:00' | timestamp '2024-01-01 00:00:00.000001' | date '2024-01-01' | '2024-01-01'
        | timestamptz '2024-01-01 00:00:00+00' | timestamptz '2024-01-01 00:00:00.000001+00'
        | interval '1 microsecond' | interval '0'""",
}


def test_the_digest_keeps_values_and_types_apart(database: str) -> None:
    literals = LITERALS[database.partition(":")[0]].split("|")
    digests = {literal: source(database, f"SELECT {literal} AS a").digest() for literal in literals}
    assert len(set(digests.values())) == len(literals)
    again = {literal: source(database, f"SELECT {literal} AS a").digest() for literal in literals}
    assert digests == again


def test_the_digest_follows_names_order_and_where_a_value_stands(database: str) -> None:
    queries = ["SELECT 1 AS a, 2 AS b", "SELECT 2 AS a, 1 AS b", "SELECT 1 AS b, 2 AS a", "SELECT 12 AS a, NULL AS b"]
    queries += ["SELECT 1 AS a UNION ALL SELECT 2", "SELECT 2 AS a UNION ALL SELECT 1", "SELECT 1 AS a WHERE 1 = 0"]
    queries += ["SELECT 'a,b' AS a, 'c' AS b", "SELECT 'a' AS a, 'b,c' AS b", "SELECT 1 AS b WHERE 1 = 0"]
    assert len({source(database, query).digest() for query in queries}) == len(queries)


VALUES = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(st.characters(codec="utf-8")),
    st.binary(),
)


@settings(max_examples=50, deadline=None)
@given(st.lists(VALUES, min_size=1, max_size=4), st.lists(VALUES, min_size=1, max_size=4))
def test_rows_have_one_digest_only_if_they_are_the_same(one: list[Any], other: list[Any]) -> None:
    def digest(values: list[Any]) -> str | None:
        made = sql.Result("sqlite://", "", 2)
        made_rows = [["a"], [(value,) for value in values]]
        original, sql._read = sql._read, lambda *_words: iter([tuple(made_rows)])  # type: ignore[assignment]
        try:
            return made.digest
        except DataError:
            return None
        finally:
            sql._read = original

    if (first := digest(one)) is not None and (second := digest(other)) is not None:
        assert (first == second) == (repr(one) == repr(other))


def test_the_digest_and_the_rows_follow_no_session_s_time_zone(server: str) -> None:
    query = "SELECT timestamptz '2024-07-01 12:00:00.000001+02' AS a UNION ALL SELECT timestamptz '2024-01-01 00:00+00'"
    made = [source(f"{server}?options=-ctimezone%3D{zone}", query) for zone in ("UTC", "Europe/Berlin", "Asia/Kolkata")]
    assert len({each.digest() for each in made}) == 1
    for each in made:
        assert [str(cell) for cell in rows(each)["a"]] == [
            "2024-07-01 10:00:00.000001+00:00",
            "2024-01-01 00:00:00+00:00",
        ]


@pytest.mark.parametrize("at_once", [1, 2, 1000])
def test_a_column_has_one_type_wherever_its_values_begin(database: str, at_once: int) -> None:
    big = 2**53 + 1
    run(database, "CREATE TABLE t (n BIGINT, whole BIGINT, x DOUBLE PRECISION, s VARCHAR, empty VARCHAR)")
    run(
        database,
        f"INSERT INTO t VALUES (0, NULL, NULL, NULL, NULL), (1, {big}, 1, 'a', NULL), (2, NULL, 0.5, '', NULL)",
    )
    made = result(database, "SELECT whole, x, s, empty FROM t ORDER BY n", at_once)
    schemas = [pq.read_schema(file) for file in made.files]
    assert all(schema.types == [pa.int64(), pa.float64(), pa.string(), pa.null()] for schema in schemas)
    table = pa.concat_tables(pq.read_table(file) for file in made.files).to_pydict()
    assert table == {"whole": [None, big, None], "x": [None, 1.0, 0.5], "s": [None, "a", ""], "empty": [None] * 3}


def test_what_a_database_has_is_read_as_it_is(server: str) -> None:
    query = """SELECT 1.50::numeric AS n, '\\x00ff'::bytea AS y, date '2024-02-29' AS d, true AS o,
        '{"a": [1, "ü"]}'::jsonb AS j,
        ARRAY[1, 2] AS l, gen_random_uuid() AS u, time '01:02:03.000004' AS h
        UNION ALL SELECT 1234567890123456789.123456789, NULL, NULL, NULL, NULL, NULL, NULL, NULL"""
    frame = rows(source(server, query), 1)
    assert frame["n"].tolist() == [Decimal("1.50"), Decimal("1234567890123456789.123456789")]
    first = frame.iloc[0]
    assert first["y"] == b"\x00\xff" and str(first["d"]) == "2024-02-29" and bool(first["o"]) is True
    assert str(first["h"]) == "01:02:03.000004" and len(str(first["u"])) == 36
    assert (first["j"], first["l"]) == ({"a": [1, "ü"]}, [1, 2])
    assert frame.iloc[1].isna().sum() == 7


@pytest.mark.parametrize(
    ("second", "rule"),
    [
        ("'hidden'", "row 1, column a: is of the type str, others of int: cast the column in the query"),
        ("X'68'", "row 1, column a: is of the type bytes, others of int"),
        ("0.5", "column a: no type has all of its values exactly, which are of float and int"),
    ],
)
@pytest.mark.parametrize("at_once", [1, 1000])
def test_values_without_a_type_in_common_are_refused(tmp_path: Path, second: str, rule: str, at_once: int) -> None:
    run(f"sqlite:///{tmp_path}/x.db", "CREATE TABLE t (a)", f"INSERT INTO t VALUES (9007199254740993), ({second})")
    with pytest.raises(DataError, match=rule) as caught:
        cells(result(f"sqlite:///{tmp_path}/x.db", "SELECT a FROM t ORDER BY rowid", at_once))
    assert caught.value.code == Exit.BAD_ROW and "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    "value", ["'NaN'::numeric", "int4range(1, 2)", "1e300::numeric", "ARRAY[1.5]", "ARRAY[date '2024-01-01']"]
)
def test_what_no_table_can_have_is_refused_in_words(server: str, value: str) -> None:
    with pytest.raises(DataError, match=r"column a: no type has all of its values exactly.*cast it in the query"):
        rows(source(server, f"SELECT {value} AS a"))


def test_colons_percent_signs_and_backslashes_of_a_query_are_its_own(database: str) -> None:
    query = "SELECT ':x 12:30 a:b' AS a, '{\"k\":1}' AS b, '100%' AS c, '%(a)s' AS d, 'a\\b' AS e WHERE 'ab' LIKE 'a%'"
    assert list(rows(source(database, query)).iloc[0]) == [":x 12:30 a:b", '{"k":1}', "100%", "%(a)s", "a\\b"]


@pytest.mark.parametrize(
    "value", ["timestamp '0044-03-15 BC'", "date '0044-03-15 BC'", "timestamptz '9999-12-31 23:59:59-12'"]
)
def test_a_time_that_python_has_not_is_refused_in_words(server: str, value: str) -> None:
    for ask in (Source.digest, rows):
        with pytest.raises(DataError, match="cast it in the query") as caught:
            ask(source(server, f"SELECT {value} AS a"))  # type: ignore[operator]
        assert caught.value.code == Exit.BAD_ROW


@pytest.mark.parametrize("end", [";", " ; ", "\n-- the end", " /* the end */ ;\n"])
def test_a_query_may_end_as_in_an_editor(database: str, end: str) -> None:
    assert rows(source(database, f"SELECT 1 AS a{end}"))["a"].tolist() == [1]


def test_a_query_that_the_database_does_not_understand_is_final(server: str) -> None:
    for query in ("SELEC 1", "SELECT a FROM hidden", "SELECT 'x' + 1"):
        with pytest.raises(DataError, match="SQLSTATE") as caught:
            rows(source(server, query))
        assert "hidden" not in str(caught.value)
        assert caught.value.code in (Exit.CONFIGURATION, Exit.UNREADABLE)


def test_a_column_that_is_there_twice_is_refused(database: str) -> None:
    with pytest.raises(DataError, match="has column a twice"):
        rows(source(database, "SELECT 1 AS a, 2 AS a"))


def test_a_query_without_rows_leaves_nothing_to_prepare(database: str) -> None:
    query = {"uri": database, "format": "sql", "query": "SELECT 1 AS a WHERE 1 = 0"}
    with pytest.raises(DataError, match="reading the sources leaves no rows") as caught:
        Pipeline.parse({"sources": [query], "steps": [{"split": {}}]}).whole(Context(), lambda _line: None)
    assert caught.value.code == Exit.EMPTY


def test_a_statement_that_returns_nothing_is_refused_and_changes_nothing(database: str) -> None:
    fill(database, 3)
    with pytest.raises(DataError) as caught:
        rows(source(database, "DELETE FROM t"))
    assert caught.value.code in (Exit.CONFIGURATION, Exit.UNREADABLE)
    assert len(rows(source(database, "SELECT n FROM t"))) == 3


def test_a_sqlite_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such file"):
        rows(source(f"sqlite:///{tmp_path}/gone.db", "SELECT 1 AS a"))
    assert not list(tmp_path.iterdir())


SECRET = "s3cr3t-w0rd"


@pytest.mark.parametrize(
    "uri",
    [
        f"postgresql://team:{SECRET}@127.0.0.1:1/x",
        f"postgresql+psycopg2://team@127.0.0.1:1/x?password={SECRET}",
        f"postgresql://team:{SECRET}@127.0.0.1:1/x?sslmode={SECRET}",
        f"mssql+nothing://team:{SECRET}@host/x?odbc_connect=PWD={SECRET}",
        f"mysql+pymysql://team:{SECRET}@host/x",
        f"nothing://team:{SECRET}@host/x",
        f"team:{SECRET}@host",
        f"postgresql://team:{SECRET}@host:port/x",
        f"sqlite:////nowhere/x.db?key={SECRET}",
    ],
)
def test_a_database_that_cannot_be_asked_is_named_without_a_secret(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELOPS_SQL_PASSWORD", SECRET)
    declared = {
        "sources": [{"uri": uri, "format": "sql", "query": f"SELECT '{SECRET}' AS a"}],
        "steps": [{"split": {}}],
    }
    context = Context()
    pipeline = Pipeline.parse(declared)
    for ask in (lambda: pipeline.version(b""), lambda: pipeline.whole(context, lambda _line: None)):
        with pytest.raises(DataError) as caught:
            ask()
        assert caught.value.code in (Exit.UNREADABLE, Exit.CONFIGURATION)
        assert SECRET not in f"{caught.value}{caught.value.__cause__}{context.files}"


@pytest.mark.parametrize(
    ("query", "ordered"),
    [
        ("SELECT a FROM t ORDER BY a", True),
        ("select a from t\norder\n  by a limit 3", True),
        ("WITH x AS (SELECT 1) SELECT * FROM x ORDER BY 1", True),
        ("SELECT a FROM t", False),
        ("SELECT a FROM (SELECT a FROM t ORDER BY a) AS x", False),
        ("SELECT row_number() OVER (PARTITION BY f(a) ORDER BY a) FROM t", False),
        ("SELECT a FROM t -- ORDER BY a", False),
        ("SELECT a FROM t /* ORDER\nBY a */", False),
        ("SELECT ' ORDER BY ' || 'it''s ORDER BY' AS a FROM t", False),
        ('SELECT a AS " order by " FROM t', False),
        ("SELECT ')' FROM t ORDER BY (a)", True),
    ],
)
def test_the_report_says_whether_a_query_has_an_order(query: str, ordered: bool) -> None:
    assert Source(uri="sqlite://", format="sql", query=query).found() == {"ordered": ordered}


MEASURE = """
import resource, sys
from modelops_runtime.data.sources.rows import chunks
from modelops_runtime.data.sources.source import Source
count, query = int(sys.argv[1]), sys.argv[3]
source = Source(uri=sys.argv[2], format="sql", query="SELECT 1 AS a")
list(chunks(source, source.files()))  # what is loaded is no part of it
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
source = Source(uri=sys.argv[2], format="sql", query=query)
assert sum(len(frame) for frame in chunks(source, source.files())) == count and len(source.digest()) == 64
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def peak(database: str, count: int) -> int:
    """MiB that reading so many rows takes."""
    numbers = (
        f"generate_series(1, {count}) AS t (n)"
        if database.startswith("postgresql")
        else f"(WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < {count}) SELECT n FROM t)"
    )
    query = f"SELECT n, '{'a long text ' * 40}' || n AS s FROM {numbers}"
    words = [sys.executable, "-c", MEASURE, str(count), database, query]
    environment = {"PYTHONPATH": str(REPOSITORY / "model")}
    return int(subprocess.run(words, capture_output=True, text=True, env=environment, check=True, timeout=300).stdout)


def test_memory_does_not_grow_with_the_rows(database: str) -> None:
    # 200,000 rows more are 110 MiB of Python's values, and in PostgreSQL's client as much again.
    assert peak(database, 300_000) - peak(database, 100_000) < 50
