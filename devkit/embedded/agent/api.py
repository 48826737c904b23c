"""A very small Kubernetes API client: get, post, patch, delete and watch with one of our kubeconfigs."""

import base64
import http.client
import json
import ssl
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

# Objects of the API as plain JSON.
Object = dict[str, Any]

MERGE_PATCH = "application/merge-patch+json"
WATCH_SECONDS = 240


class ApiError(Exception):
    """The API server refused a request; `status` is its HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class Api:
    """One API server, with one client certificate. Each request has its own connection."""

    def __init__(self, kubeconfig: Path) -> None:
        settings = json.loads(kubeconfig.read_text())
        cluster, user = settings["clusters"][0]["cluster"], settings["users"][0]["user"]
        address = urlsplit(cluster["server"])
        self._host, self._port = address.hostname or "", address.port or 443
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        self._context = ssl.create_default_context(cadata=authority)
        with tempfile.NamedTemporaryFile() as both:  # ssl only takes files; only the owner can read this one
            both.write(base64.b64decode(user["client-certificate-data"]))
            both.write(base64.b64decode(user["client-key-data"]))
            both.flush()
            self._context.load_cert_chain(both.name)

    def call(
        self, method: str, path: str, body: Object | None = None, content_type: str = "application/json"
    ) -> Object:
        """One request. Raises ApiError when refused, OSError when the server can't be reached."""
        connection = self._connect(timeout_seconds=30)
        try:
            data = None if body is None else json.dumps(body)
            connection.request(method, path, body=data, headers={"Content-Type": content_type})
            answer = connection.getresponse()
            content = answer.read()
        except http.client.HTTPException as problem:
            raise OSError(str(problem)) from problem
        finally:
            connection.close()
        if answer.status >= 300:
            raise ApiError(answer.status, _message(content))
        result: Object = json.loads(content)
        return result

    def watch(self, path: str, resource_version: str) -> Iterator[Object]:
        """Events from `resource_version` on; ends after a few minutes, or when the server requires a new list."""
        query = {"watch": "1", "resourceVersion": resource_version, "timeoutSeconds": str(WATCH_SECONDS)}
        connection = self._connect(timeout_seconds=WATCH_SECONDS + 30)
        try:
            connection.request("GET", f"{path}?{urlencode(query)}")
            answer = connection.getresponse()
            if answer.status != 200:
                raise ApiError(answer.status, _message(answer.read()))
            while line := answer.readline():
                event: Object = json.loads(line)
                if event["type"] == "ERROR":
                    return
                yield event
        except http.client.HTTPException as problem:
            raise OSError(str(problem)) from problem
        finally:
            connection.close()

    def _connect(self, timeout_seconds: float) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(self._host, self._port, timeout=timeout_seconds, context=self._context)


def _message(content: bytes) -> str:
    try:
        return str(json.loads(content).get("message", ""))
    except ValueError:
        return content.decode(errors="replace")[:200]
