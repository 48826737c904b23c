"""serving/protocol.py builds on private parts of uvicorn: no change of theirs may go unseen."""

import ast
import asyncio
import inspect
import re
import tomllib
from importlib.metadata import version
from unittest.mock import Mock

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from modelops_runtime.serving import protocol
from tests.conftest import REPOSITORY

COMPARED = "0.54.0"
"""The uvicorn that serving/protocol.py was last compared with."""


async def one_request() -> HttpToolsProtocol:
    """uvicorn's own protocol after the head of a request."""

    async def app(scope: object, receive: object, send: object) -> None: ...

    config = uvicorn.Config(app, lifespan="off")
    config.load()
    connection = HttpToolsProtocol(config, uvicorn.server.ServerState(), {}, asyncio.get_running_loop())
    transport = Mock(asyncio.Transport)
    transport.get_extra_info.return_value = None
    connection.connection_made(transport)
    connection.data_received(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    return connection


def attributes_used() -> set[tuple[str, str]]:
    """What protocol.py reads, sets or calls, by the expression before the dot."""
    attributes = [node for node in ast.walk(ast.parse(inspect.getsource(protocol))) if isinstance(node, ast.Attribute)]
    return {(ast.unparse(node.value), node.attr) for node in attributes}


def test_uvicorn_still_has_what_our_protocol_uses() -> None:
    connection = asyncio.run(one_request())
    owners = {
        "super()": connection,
        "self": connection,
        "self.cycle": connection.cycle,
        "cycle": connection.cycle,
        "self.flow": connection.flow,
    }
    own = {("self", name) for name in vars(protocol.BoundedProtocol)}
    used = {use for use in attributes_used() - own if use[0] in owners and not use[1].startswith("_")}
    missing = sorted(
        f"{type(owners[name]).__name__}.{attribute}" for name, attribute in used if not hasattr(owners[name], attribute)
    )
    assert {"cycle", "self.flow"} <= {name for name, _attribute in used}
    assert not missing, f"uvicorn {uvicorn.__version__} has no {', '.join(missing)}, which serving/protocol.py uses"


def test_uvicorn_is_the_version_that_our_protocol_was_written_against() -> None:
    extras = tomllib.loads((REPOSITORY / "model/pyproject.toml").read_text())["project"]["optional-dependencies"]
    [pinned] = re.findall(r"^uvicorn==(.+)$", "\n".join(extras["serve"]), re.MULTILINE)
    [served] = re.findall(r"^uvicorn==(.+)$", (REPOSITORY / "model/requirements-serve.txt").read_text(), re.MULTILINE)
    assert {pinned, served, version("uvicorn")} == {COMPARED}, (
        f"uvicorn is {pinned} in the extra `serve`, {served} in requirements-serve.txt and {version('uvicorn')} here:"
        f" compare serving/protocol.py with its httptools_impl.py, as was done for {COMPARED}, and change all together"
    )
