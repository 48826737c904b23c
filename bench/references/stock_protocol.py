"""Our server on uvicorn's own HTTP protocol: what ours costs or saves."""

from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from modelops_runtime.serving import lifecycle
from modelops_runtime.serving.serve import main


def stock(*, turned_away: object, **named: Any) -> HttpToolsProtocol:
    """It turns nothing away."""
    return HttpToolsProtocol(**named)


lifecycle.BoundedProtocol = stock  # type: ignore[misc,assignment]
main()
