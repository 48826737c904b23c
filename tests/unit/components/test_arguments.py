"""What holds for the arguments of every component, found by walking their types."""

import inspect
import typing
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

import modelops
from modelops.core.types import Resources
from modelops.core.validation import _unwrap
from tests.package.test_consumer import MINIMAL


def fields(spec: type[Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], type[Any], Any, bool]]:
    """Path, type that it is a field of, type without wrappers and whether it is plain, of each field."""
    for name, annotation in inspect.get_annotations(spec).items():
        plain, kind = _unwrap(annotation)
        yield (*path, name), spec, kind, plain
        if typing.is_typeddict(kind):
            yield from fields(kind, (*path, name))


FIELDS = [(component, *field) for component in MINIMAL for field in fields(getattr(modelops, f"{component}Args"))]


def changed(args: Mapping[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    """`args` with another value at `path`."""
    key, *rest = path
    return {**args, key: changed(args.get(key, {}), tuple(rest), value) if rest else value}


@pytest.mark.parametrize(
    ("component", "path"),
    [
        pytest.param(component, path, id=f"{component} {'.'.join(path)}")
        for component, path, _, kind, _ in FIELDS
        if kind is Resources
    ],
)
def test_a_limit_below_the_default_request_is_refused_in_the_plan(component: str, path: tuple[str, ...]) -> None:
    args = changed(MINIMAL[component], path, {"cpu_limit": "1m", "memory_limit": "1Mi"})
    with pytest.raises(modelops.ArgumentsError) as caught:
        getattr(modelops, component)("demo", args)
    for limit, request in (("cpu_limit is '1m'", "cpu"), ("memory_limit is '1Mi'", "memory")):
        assert f"{'.'.join(path)}.{limit}, must be at least {request}, which is " in str(caught.value)
    assert str(caught.value).count("by default") == 2
