"""Errors for the user."""


class DevkitError(Exception):
    """Something the user can act on: one line that says what is wrong and what to do about it."""

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(f"{problem} — {remedy}" if remedy else problem)
