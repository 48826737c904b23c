"""The page that says how the environments differ."""

from docs import environments


def test_the_table_of_the_environments_is_current() -> None:
    text = environments.PAGE.read_text()
    assert environments.page(text) == text, "run `make generate`"


def test_each_area_that_differs_says_why_once() -> None:
    for why in environments.WHY.values():
        assert environments.table().count(why) == 1
