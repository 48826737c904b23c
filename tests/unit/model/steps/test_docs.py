"""The page of the steps is current."""

from docs.data_steps import CATALOG, PAGE, catalog, page
from modelops_runtime.data.steps import STEPS


def test_the_page_of_the_steps_is_made_from_the_code() -> None:
    assert PAGE.read_text() == page(), "run: python -m docs.data_steps"


def test_the_component_knows_the_same_steps() -> None:
    assert CATALOG.read_text() == catalog(), "run: python -m docs.data_steps"


def test_every_step_says_what_it_does() -> None:
    assert all(kind.__doc__ for kind in STEPS.values())
