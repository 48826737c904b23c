"""The page at `/`, in a real browser."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser import Browser, browser
from tests.models import write_model
from tests.unit.model.support import RunningServer, start_server


@pytest.fixture(scope="module")
def window() -> Iterator[Browser]:
    with browser() as opened:
        yield opened


@pytest.fixture
def page(window: Browser, server: RunningServer) -> Browser:
    window.open(f"http://127.0.0.1:{server.port}/")
    window.wait("h1", "line")
    return window


def test_a_person_tries_a_prediction(page: Browser, tmp_path: Path) -> None:
    assert "run-abc123def456" in page.text("#version")
    assert "each a list of 1 number" in page.text("#shape")
    page.type("#inputs", "[[0.5], [3]]")
    page.click("#predict")
    page.wait("#outputs", "2")
    assert page.text("#outputs").split() == ["[2,", "7]"]
    assert page.text("#took").endswith(" ms")
    assert page.text("#problem") == ""
    page.screenshot(tmp_path / "page.png")
    assert (tmp_path / "page.png").stat().st_size > 10_000


def test_the_example_can_be_sent_as_it_stands(page: Browser) -> None:
    page.click("#predict")
    page.wait("#outputs", "1")


def test_a_mistake_is_explained_in_the_server_s_words(page: Browser) -> None:
    page.type("#inputs", "[[1, 2]]")
    page.click("#predict")
    page.wait("#problem", "inputs[0] must have 1 number, this one has 2")
    assert page.text("#outputs") == ""
    page.type("#inputs", "[[1]")
    page.click("#predict")
    page.wait("#problem", "the body is not JSON")
    page.type("#inputs", "[[1]]")
    page.click("#predict")
    page.wait("#outputs", "3")
    assert page.text("#problem") == ""


def test_ctrl_and_enter_predicts(page: Browser) -> None:
    page.type("#inputs", "[[4]]\ue009\ue007")
    page.wait("#outputs", "9")


def test_the_command_line_is_what_was_typed(page: Browser, server: RunningServer) -> None:
    page.type("#inputs", "[[0.5]]")
    assert page.text("#curl") == (
        f"curl -s http://127.0.0.1:{server.port}/api/predict -H 'Content-Type: application/json'"
        """ -d '{"inputs": [[0.5]]}'"""
    )


def test_what_is_typed_is_text_and_no_markup(page: Browser) -> None:
    page.type("#inputs", "[<img src=x onerror=document.title='broken'>]")
    page.click("#predict")
    page.wait("#problem", "JSON")
    assert page.run("return document.querySelectorAll('img').length") == 0
    assert page.run("return document.title") == "line"


def test_nothing_comes_from_elsewhere_and_nothing_breaks_the_policy(window: Browser, server: RunningServer) -> None:
    origin = f"http://127.0.0.1:{server.port}/"
    window.console()
    window.open(origin)
    window.wait("h1", "line")
    loaded = window.run("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert {f"{origin}page.css", f"{origin}page.js", f"{origin}openapi.json"} <= set(loaded)
    assert all(name.startswith((origin, "data:")) for name in loaded)
    assert window.console() == []


def test_the_policy_stops_scripts_that_are_not_the_page_s_own(page: Browser) -> None:
    page.run(
        "const inline = document.createElement('script'); inline.textContent = \"document.title = 'broken'\";"
        "document.body.append(inline)"
    )
    assert page.run("return document.title") == "line"
    assert any("Content Security Policy" in line["message"] for line in page.console())


@pytest.mark.parametrize("path", ["/", "/page.css", "/page.js"])
def test_the_page_s_files_are_sent_with_a_strict_policy(server: RunningServer, path: str) -> None:
    answer = server.ask("GET", path)
    assert answer.status == 200
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert not re.search(rb"https?://", answer.body)


def test_several_inputs_are_described(window: Browser, tmp_path: Path) -> None:
    write_model(tmp_path / "model", weights=((1, 2, 3), (4, 5, 6)), bias=(1, -1))
    with start_server(tmp_path / "model", tmp_path / "log") as server:
        window.open(f"http://127.0.0.1:{server.port}/")
        window.wait("#shape", "each a list of 3 numbers")
        window.click("#predict")
        window.wait("#outputs", "[")
        assert window.text("#outputs").count(",") == 1


def test_the_example_of_a_model_of_plain_mlflow_can_be_sent(window: Browser, tmp_path: Path) -> None:
    import mlflow
    import pandas
    from sklearn.linear_model import LinearRegression

    rows = pandas.DataFrame({"age": [1.0, 2.0], "<b>size": [3.0, 5.0]})
    mlflow.sklearn.save_model(
        LinearRegression().fit(rows, [5.0, 8.0]),
        tmp_path / "model",
        input_example=rows,
        pip_requirements=[],
        serialization_format="cloudpickle",
    )
    with start_server(tmp_path / "model", tmp_path / "log", MODELOPS_MODEL_NAME="prices") as server:
        window.open(f"http://127.0.0.1:{server.port}/")
        window.wait("h1", "prices")
        assert "age (double), <b>size (double)" in window.text("#shape")
        window.click("#predict")
        window.wait("#outputs", "8")
        assert '"age": 1' in window.text("#curl") or '"age":1' in window.text("#curl")
