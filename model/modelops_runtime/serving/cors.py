"""Which other sites' pages may ask this server: Cross-Origin Resource Sharing, as the Fetch standard has it."""

from collections.abc import Collection

from modelops_runtime.serving.http import Headers, Response, Scope, header

ANY = "*"
_ASK = b"authorization, content-type, inference-header-content-length, traceparent, tracestate, x-request-id"
_SEE = b"inference-header-content-length, retry-after, x-request-id"
_PREFLIGHT_SECONDS = b"600"


class Cors:
    def __init__(self, origins: Collection[str]) -> None:
        """`origins` as browsers send them, `https://app.example.com`, or `*`."""
        self._any = ANY in origins
        self._origins = frozenset(origin.encode() for origin in origins)

    def headers(self, scope: Scope) -> Headers:
        """Of an answer, whatever it is: a page may read refusals too."""
        if self._any:
            return [(b"access-control-allow-origin", b"*"), (b"access-control-expose-headers", _SEE)]
        origin = header(scope, b"origin")
        if origin not in self._origins:
            return [(b"vary", b"origin")]
        return [
            (b"access-control-allow-origin", origin),
            (b"access-control-expose-headers", _SEE),
            (b"vary", b"origin"),
        ]

    def asked(self, scope: Scope) -> bool:
        """Whether a browser asks what it may ask."""
        return header(scope, b"access-control-request-method") is not None

    def preflight(self, methods: Collection[str]) -> Response:
        return Response(
            200,  # 204 must not say a length
            b"",
            headers=[
                (b"access-control-allow-methods", ", ".join(sorted(methods)).encode()),
                (b"access-control-allow-headers", _ASK),
                (b"access-control-max-age", _PREFLIGHT_SECONDS),
            ],
        )
