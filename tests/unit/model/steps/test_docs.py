"""The page of the steps is current."""

from model.steps import STEPS
from model.steps.docs import PAGE, page


def test_the_page_of_the_steps_is_made_from_the_code() -> None:
    assert PAGE.read_text() == page(), "run: python -m model.steps.docs"


def test_every_step_says_what_it_does() -> None:
    assert all(kind.__doc__ for kind in STEPS.values())
