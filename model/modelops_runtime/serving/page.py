"""The page at `/`: a person tries a prediction. Its files are in `static/`; nothing comes from anywhere else."""

from pathlib import Path

from modelops_runtime.serving.http import Response

_FOLDER = Path(__file__).with_name("static")
_FILES = {
    "/": ("index.html", b"text/html; charset=utf-8"),
    "/page.css": ("page.css", b"text/css; charset=utf-8"),
    "/page.js": ("page.js", b"text/javascript; charset=utf-8"),
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; base-uri 'none';"
    " form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = [
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-cache"),
]


def pages() -> dict[str, Response]:
    """The answer to each path, read once."""
    return {
        path: Response(200, (_FOLDER / name).read_bytes(), content_type, _HEADERS)
        for path, (name, content_type) in _FILES.items()
    }
