"""What `make bench` builds images of, and what it counts as pushed."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from bench.images import CODE, copied, pushed

BLOBS = st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 9))


@given(BLOBS, BLOBS)
def test_only_what_no_earlier_image_has_is_pushed(after: dict[str, int], before: dict[str, int]) -> None:
    assert pushed(after) == sum(after.values())
    assert pushed(after, after) == pushed({}, before) == 0
    assert pushed(after, before) == sum(after[name] for name in after.keys() - before.keys())
    assert pushed(after, before, {"a": 1}) == pushed(after, before | {"a": 1})


def test_each_copy_has_the_same_files_with_other_times_and_modes(tmp_path: Path) -> None:
    first, second = copied(tmp_path, 0), copied(tmp_path, 1)
    names = {path.relative_to(first) for path in first.rglob("*")}
    assert names == {path.relative_to(second) for path in second.rglob("*")}
    assert {path.name for path in (first, second)} == {"sources"} and first.parent != second.parent
    one, other = first / CODE, second / CODE
    assert one.read_bytes() == other.read_bytes()
    assert one.stat().st_mtime != other.stat().st_mtime and one.stat().st_mode != other.stat().st_mode
