"""Reading arguments: shapes, and all problems in one error."""

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, NotRequired, TypedDict

import pulumi
import pulumi_kubernetes as k8s
import pytest

from modelops import ArgumentsError
from modelops.core.validation import Problems, read_args
from tests.unit.components.harness import run


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Inner(TypedDict):
    size: NotRequired[pulumi.Input[str]]
    count: NotRequired[pulumi.Input[int]]


class Args(TypedDict):
    name: pulumi.Input[str]
    colour: NotRequired[Colour]
    count: NotRequired[int]
    ratio: NotRequired[pulumi.Input[float]]
    inner: NotRequired[Inner]
    many: NotRequired[Mapping[str, Inner]]
    words: NotRequired[Sequence[pulumi.Input[str]]]
    free: NotRequired[pulumi.Input[Mapping[str, pulumi.Input[Any]]]]
    flag: NotRequired[bool]
    serve_command: NotRequired[pulumi.Input[Sequence[pulumi.Input[str]]]]
    tracking_uri: NotRequired[pulumi.Input[str]]
    store_uri: NotRequired[pulumi.Input[str]]
    labels: NotRequired[Mapping[str, pulumi.Input[str]]]


def read(args: Any) -> Any:
    problems = Problems("Thing", "demo")
    result = read_args(args, Args, problems)
    problems.raise_if_any()
    return result


def test_values_pass_unchanged() -> None:
    args = {"name": "a", "count": 3, "ratio": 1, "words": ["x"], "free": {"a": [1]}, "flag": True}
    assert read(args) == args


def test_whole_numbers_of_the_wire_become_ints() -> None:
    found = read({"name": "a", "count": 3.0, "inner": {"count": 2.0}})
    assert (found["count"], found["inner"]["count"]) == (3, 2)
    assert isinstance(found["count"], int)


def test_enum_values_become_members() -> None:
    assert read({"name": "a", "colour": "red"})["colour"] is Colour.RED
    assert read({"name": "a", "colour": Colour.BLUE})["colour"] is Colour.BLUE


def test_none_counts_as_not_given() -> None:
    assert read({"name": "a", "count": None}) == {"name": "a"}


def test_one_problem_reads_as_one_line() -> None:
    with pytest.raises(ArgumentsError) as caught:
        read({"name": "a", "count": "many"})
    assert str(caught.value) == "Thing \"demo\": count is 'many', must be a whole number"


def test_all_problems_come_at_once() -> None:
    with pytest.raises(ArgumentsError) as caught:
        read({"colour": "green", "count": True, "inner": {"sise": "1"}, "many": {"a": 1}, "words": "x", "flag": 1})
    assert str(caught.value).splitlines() == [
        'Thing "demo": 7 problems',
        "  - colour is 'green', must be one of red, blue",
        "  - count is True, must be a whole number",
        "  - inner.sise is not an argument; did you mean size?",
        "  - many.a is 1, must be a mapping",
        "  - words is 'x', must be a list: write [\"x\"]",
        "  - flag is 1, must be true or false",
        "  - name is missing, it is required",
    ]


def problem(change: Any) -> str:
    with pytest.raises(ArgumentsError) as caught:
        read({"name": "a", **change})
    return str(caught.value).removeprefix('Thing "demo": ')


@pytest.mark.parametrize(
    ("change", "answer"),
    [
        ({"colur": "red"}, "colur is not an argument; did you mean colour or count?"),
        ({"trackingUri": "x"}, "trackingUri is not an argument; did you mean tracking_uri?"),
        ({"inner": {"Size": "1"}}, "inner.Size is not an argument; did you mean size?"),
        ({"many": {"a": {"cont": 1}}}, "many.a.cont is not an argument; did you mean count?"),
        ({"size": "1"}, "size is not an argument; did you mean inner.size?"),
        ({"inner": {"zzz": "1"}}, "inner.zzz is not an argument; valid names are count, size"),
        ({"zzz": "1"}, "zzz is not an argument; docs/components/thing.md lists them"),
        ({"colour": "Bleu"}, "colour is 'Bleu', must be one of red, blue; did you mean blue?"),
    ],
)
def test_an_unknown_name_is_answered_by_the_nearest_known_ones(change: Any, answer: str) -> None:
    assert problem(change) == answer


@pytest.mark.parametrize(
    "address",
    [
        "https://team:s3cret@host/path",
        "ftp://s3cret@host",
        "see http://a:b@c/ and oci://x:p@s3cret@y",
        "http://:s3cret@",
    ],
)
def test_a_password_in_an_address_is_not_shown(address: str) -> None:
    problems = Problems("Demo", "it")
    problems.add("uri", address, "must be something else")
    with pytest.raises(ArgumentsError) as caught:
        problems.raise_if_any()
    assert "s3cret" not in str(caught.value) and "…@" in str(caught.value)


def test_the_value_of_an_unknown_name_is_not_shown_as_it_may_be_a_secret() -> None:
    assert "hunter2" not in problem({"pasword": "hunter2"})


@pytest.mark.parametrize(
    ("change", "answer"),
    [
        ({"inner": {"size": 2}}, 'inner.size is 2, must be text: write "2"'),
        ({"inner": {"size": 2.0}}, 'inner.size is 2.0, must be text: write "2"'),
        ({"inner": {"size": 0.5}}, 'inner.size is 0.5, must be text: write "0.5"'),
        ({"labels": {"debug": True}}, 'labels.debug is True, must be text: write "true"'),
        ({"name": ["a"]}, "name is ['a'], must be text"),
        ({"count": "2"}, "count is '2', must be a whole number: write 2, without quotes"),
        ({"count": "2.5"}, "count is '2.5', must be a whole number"),
        ({"count": "two"}, "count is 'two', must be a whole number"),
        ({"ratio": "1"}, "ratio is '1', must be a number: write 1, without quotes"),
        ({"flag": "True"}, "flag is 'True', must be true or false: write True, without quotes"),
        ({"flag": "no"}, "flag is 'no', must be true or false"),
        ({"words": "two words"}, "words is 'two words', must be a list: write [\"two words\"]"),
        ({"words": 3}, "words is 3, must be a list: put it in [ ]"),
        (
            {"serve_command": "python app.py --name 'a b'"},
            "serve_command is \"python app.py --name 'a b'\", must be a list: write "
            '["python", "app.py", "--name", "a b"]',
        ),
        ({"serve_command": "python 'app.py"}, 'serve_command is "python \'app.py", must be a list'),
    ],
)
def test_a_value_of_the_wrong_type_is_answered_by_how_to_write_it(change: Any, answer: str) -> None:
    assert problem(change) == answer


class Registry(pulumi.ComponentResource):
    tracking_uri: pulumi.Output[str]
    url: pulumi.Output[str]

    def __init__(self) -> None:
        super().__init__("test:index:Registry", "registry")


def test_a_resource_in_place_of_its_output_is_answered_by_the_output() -> None:
    answers: dict[str, str] = {}

    def program() -> None:
        namespace = k8s.core.v1.Namespace("ml")
        answers["name"] = problem({"name": namespace})
        for field in ("tracking_uri", "store_uri"):
            answers[field] = problem({field: Registry()})
        answers["any"] = problem({"free": {"tracking_uri": Registry()}})

    run(program)
    assert answers == {
        "name": 'name is the Namespace itself, must be its name, metadata["name"], or another of its outputs',
        "tracking_uri": "tracking_uri is the Registry itself, must be its tracking_uri",
        "store_uri": "store_uri is the Registry itself, must be one of its outputs, tracking_uri or url",
        "any": "free.tracking_uri is the Registry itself, must be its tracking_uri",
    }


def test_arguments_that_are_no_mapping_are_refused() -> None:
    with pytest.raises(ArgumentsError, match="args is 'x', must be a mapping"):
        read("x")


def test_outputs_pass_where_they_may_and_are_refused_where_they_decide_the_shape() -> None:
    @pulumi.runtime.test  # type: ignore[untyped-decorator]
    def program() -> None:
        output: Any = pulumi.Output.from_input("later")
        assert read({"name": output})["name"] is output
        assert problem({"count": output}) == "count is not known yet, must be a plain value: the plan depends on it"
        assert problem({"words": output}).endswith(
            "the plan must know how many there are; each of them may be an output"
        )
        assert problem({"many": output}).endswith(
            "the plan must know the names in it; each of its values may be an output"
        )
        assert problem({"many": {"a": output}}).startswith("many.a is not known yet")
        assert "outputs go into its fields" in problem({"inner": output})

    program()


@pytest.mark.parametrize("value", ["500m", "2", "1.5", "512Mi", "10Gi", "3k"])
def test_quantities_that_kubernetes_takes_pass(value: str) -> None:
    problems = Problems("Thing", "demo")
    problems.quantity("memory", value)
    problems.raise_if_any()


@pytest.mark.parametrize("value", ["", "10 Gi", "10GiB", "-1", "lots"])
def test_other_quantities_are_refused(value: str) -> None:
    problems = Problems("Thing", "demo")
    problems.quantity("memory", value)
    with pytest.raises(ArgumentsError, match="must be a Kubernetes quantity"):
        problems.raise_if_any()


@pytest.mark.parametrize(
    ("rule", "good", "bad"),
    [
        ("dns_label", "a-1", "1a"),
        ("dns_label", "a" * 63, "a" * 64),
        ("dns_label", "a", "A"),
        ("url", "http://a.b:5000/x", "ftp://a"),
        ("url", "https://a", "http://"),
        ("url", "https://a/b@c", "https://user:password@a"),
        ("text", "a", ""),
        ("text", "a", "a b"),
        ("mlflow_name", "My.model_1", "-a"),
        ("repository", "localhost:5000/a/b", "a/b:tag"),
        ("repository", "registry.example.com/team/model", "Upper/case"),
    ],
)
def test_rules_of_texts(rule: str, good: str, bad: str) -> None:
    problems = Problems("Thing", "demo")
    getattr(problems, rule)("field", good)
    problems.raise_if_any()
    getattr(problems, rule)("field", bad)
    with pytest.raises(ArgumentsError):
        problems.raise_if_any()
