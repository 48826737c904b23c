"""Our server on uvicorn's own HTTP protocol: what ours costs or saves."""

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from modelops_runtime.serving import lifecycle
from modelops_runtime.serving.serve import main

lifecycle.BoundedProtocol = HttpToolsProtocol  # type: ignore[misc,assignment]
main()
