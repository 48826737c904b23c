"""What a person sees while `up` works."""

import io

import pytest

from devkit.steps import Steps, elapsed


def test_a_step_says_that_it_starts_and_how_long_it_took() -> None:
    out = io.StringIO()
    assert Steps(2, out).run("build", lambda report: 42) == 42
    first, last = out.getvalue().splitlines()
    assert first == "[ 1/2] build …"
    assert last.startswith("[ 1/2] build: done, 0.0 s")


def test_a_cached_step_says_so() -> None:
    out = io.StringIO()
    Steps(1, out).run("build", lambda report: report("cached"))
    assert "build: cached" in out.getvalue()


def test_a_failed_step_says_so_and_raises() -> None:
    out = io.StringIO()
    with pytest.raises(ZeroDivisionError):
        Steps(1, out).run("build", lambda report: 1 / 0)
    assert "build: failed after" in out.getvalue()


def test_a_silent_step_is_seen_to_be_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setattr("devkit.steps.HEARTBEAT_SECONDS", 0.02)
    out = io.StringIO()
    Steps(1, out).run("build", lambda report: time.sleep(0.2))
    assert "still working on build" in out.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0 s"), (59.94, "59.9 s"), (60, "1 min 00 s"), (187, "3 min 07 s")]
)
def test_elapsed_time_is_short(seconds: float, text: str) -> None:
    assert elapsed(seconds) == text
