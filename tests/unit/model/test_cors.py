"""Pages of other sites: by default none may ask, by a setting some or all."""

from pathlib import Path

import pytest

from tests.unit.model.support import RunningServer, start_server
from tests.unit.model.test_lifecycle import serve_fails

APP, OTHER = "https://app.example.com", "https://other.example.com"
PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}


def ask(server: RunningServer, origin: str, body: bytes = b'{"inputs": [[0.5]]}') -> dict[str, str]:
    """Status and headers that matter to a browser."""
    answer = server.ask("POST", "/api/predict", body, {**server.headers, "Origin": origin})
    found = {
        name: value for name, value in answer.headers.items() if name.startswith("access-control") or name == "vary"
    }
    return {"status": str(answer.status), **found}


def test_without_a_setting_no_page_is_let_in(server: RunningServer) -> None:
    assert ask(server, APP) == {"status": "200"}
    assert server.ask("OPTIONS", "/api/predict", headers={**PREFLIGHT, "Origin": APP}).status == 405


def test_pages_of_the_origins_named_may_ask_and_read_refusals(model_dir: Path, tmp_path: Path) -> None:
    seen = "inference-header-content-length, retry-after, x-request-id"
    let_in = {"access-control-allow-origin": APP, "access-control-expose-headers": seen, "vary": "origin"}
    with start_server(model_dir, tmp_path / "log", MODELOPS_CORS_ORIGINS=f"{APP},http://localhost:3000") as server:
        assert ask(server, APP) == {"status": "200", **let_in}
        assert ask(server, APP, b"{") == {"status": "400", **let_in}
        assert ask(server, "http://localhost:3000")["access-control-allow-origin"] == "http://localhost:3000"
        assert ask(server, OTHER) == {"status": "200", "vary": "origin"}
        preflight = server.ask("OPTIONS", "/api/predict", headers={**PREFLIGHT, "Origin": APP})
        assert (preflight.status, preflight.body) == (200, b"")
        assert preflight.headers["access-control-allow-origin"] == APP
        assert preflight.headers["access-control-allow-methods"] == "POST"
        assert "content-type" in preflight.headers["access-control-allow-headers"].split(", ")
        refused = server.ask("OPTIONS", "/api/predict", headers={**PREFLIGHT, "Origin": OTHER})
        assert "access-control-allow-origin" not in refused.headers
        assert server.ask("OPTIONS", "/api/predict").status == 405
        assert server.ask("OPTIONS", "/nothing", headers={**PREFLIGHT, "Origin": APP}).status == 404


def test_a_star_lets_every_page_in(model_dir: Path, tmp_path: Path) -> None:
    with start_server(model_dir, tmp_path / "log", MODELOPS_CORS_ORIGINS="*") as server:
        assert ask(server, OTHER)["access-control-allow-origin"] == "*"
        assert "vary" not in ask(server, OTHER)


@pytest.mark.parametrize("origins", ["app.example.com", "https://app.example.com/", "*,https://a.b", "https://a.b, c"])
def test_what_is_no_origin_is_refused_at_the_start(tmp_path: Path, origins: str) -> None:
    code, message = serve_fails(tmp_path, MODELOPS_CORS_ORIGINS=origins)
    assert code == 2
    assert "MODELOPS_CORS_ORIGINS" in message and "must be * or origins such as" in message
