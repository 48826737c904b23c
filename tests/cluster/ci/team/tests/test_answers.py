"""What a team tests before anything is deployed."""

import json

from answers import answer


def test_every_input_is_doubled(monkeypatch: object) -> None:
    monkeypatch.setenv("RELEASE", "1")  # type: ignore[attr-defined]
    assert json.loads(answer(b'{"inputs": [[1, 2]]}'))["outputs"] == [[2, 4]]
