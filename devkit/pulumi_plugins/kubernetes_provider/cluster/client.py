"""The API server's REST interface, for objects as plain data."""

import json
import ssl
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import quote, urlencode

import urllib3
from urllib3.exceptions import HTTPError

from ..errors import ApiError, Unreachable
from .kubeconfig import Config

Object = dict[str, Any]

CONNECT_SECONDS = 5.0
READ_SECONDS = 60.0
MAX_CONNECTIONS = 256
"""Requests and watches open at once; each watch holds a connection."""

_APPLY = "application/apply-patch+yaml"
_LOADING = threading.Lock()


class Client:
    """Requests to one API server. Safe for use from many threads."""

    def __init__(self, config: Config, *, timeout: float | None = None) -> None:
        from kubernetes.client import Configuration

        self._configuration: Any = Configuration()
        self._pool = _load(config, self._configuration)
        self._host = str(self._configuration.host).rstrip("/")
        self._read_seconds = timeout or READ_SECONDS

    @property
    def host(self) -> str:
        """The server's address."""
        return self._host

    def _headers(self, content_type: str) -> dict[str, str]:
        headers = {"Accept": "application/json", "User-Agent": "modelops-kubernetes-provider"}
        if content_type:
            headers["Content-Type"] = content_type
        # Read for each request: exec plugins and token files refresh their tokens.
        for setting in self._configuration.auth_settings().values():
            if setting.get("in") == "header" and setting.get("value"):
                headers[setting["key"]] = setting["value"]
        return headers

    def _send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        content_type: str = "",
        read_seconds: float | None = None,
        retries: Any = None,
    ) -> urllib3.BaseHTTPResponse:
        url = self._host + path + (f"?{urlencode(query)}" if query else "")
        try:
            return self._pool.request(
                method,
                url,
                headers=self._headers(content_type),
                body=None if body is None else json.dumps(body).encode(),
                preload_content=False,
                timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=read_seconds or self._read_seconds),
                retries=urllib3.Retry(total=2, backoff_factor=0.2) if retries is None else retries,
            )
        except HTTPError as error:
            raise Unreachable(f"{self._host}: {_cause(error)}") from error

    def request(self, method: str, path: str, **arguments: Any) -> Object:
        """Send one request; the response as data. Raises ApiError or Unreachable."""
        response = self._send(method, path, **arguments)
        try:
            data = response.data
        except HTTPError as error:
            raise Unreachable(f"{self._host}: {_cause(error)}") from error
        finally:
            response.release_conn()
        content: Any = {}
        with suppress(ValueError):
            content = json.loads(data) if data else {}
        if response.status >= 400:
            if not isinstance(content, dict) or content.get("kind") != "Status":
                content = {"message": data.decode(errors="replace").strip() or f"HTTP {response.status}"}
            raise ApiError.from_status(response.status, content)
        return content if isinstance(content, dict) else {}

    def ping(self) -> None:
        """Check in one attempt whether the server responds at all."""
        try:
            self.request("GET", "/version", read_seconds=CONNECT_SECONDS, retries=False)
        except ApiError:
            # An error is a response, too.
            return

    def get(self, path: str) -> Object:
        """The object at `path`."""
        return self.request("GET", path)

    def list_objects(self, path: str, *, label_selector: str = "", field_selector: str = "") -> Object:
        """The list at `path`."""
        return self.request("GET", path, query=_selectors(label_selector, field_selector))

    def create(self, collection: str, obj: Object, *, field_manager: str, dry_run: bool) -> Object:
        """Create `obj` in `collection`. One that exists is an error."""
        query = {"fieldManager": field_manager, "fieldValidation": "Warn", **({"dryRun": "All"} if dry_run else {})}
        return self.request("POST", collection, query=query, body=obj, content_type="application/json")

    def apply(self, path: str, obj: Object, *, field_manager: str, force: bool, dry_run: bool) -> Object:
        """Server-side apply of `obj`."""
        query = {"fieldManager": field_manager, "force": str(force).lower(), "fieldValidation": "Warn"}
        if dry_run:
            query["dryRun"] = "All"
        return self.request("PATCH", path, query=query, body=obj, content_type=_APPLY)

    def replace(self, path: str, obj: Object, *, field_manager: str, dry_run: bool) -> Object:
        """Replace the object at `path` with `obj`."""
        query = {"fieldManager": field_manager, **({"dryRun": "All"} if dry_run else {})}
        return self.request("PUT", path, query=query, body=obj, content_type="application/json")

    def patch(self, path: str, operations: list[Object]) -> Object:
        """Apply JSON patch operations to the object at `path`."""
        return self.request("PATCH", path, body=operations, content_type="application/json-patch+json")

    def delete(self, path: str, *, propagation: str) -> Object:
        """Start deleting the object at `path`."""
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation}
        return self.request("DELETE", path, body=body, content_type="application/json")

    def watch(
        self, path: str, *, resource_version: str, label_selector: str, field_selector: str, read_seconds: float
    ) -> Iterator[tuple[str, Object]]:
        """Changes after `resource_version`; ends without an error after `read_seconds` of silence."""
        query = {
            **_selectors(label_selector, field_selector),
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
        }
        response = self._send("GET", path, query=query, read_seconds=read_seconds)
        try:
            if response.status >= 400:
                raise ApiError(response.status, response.data.decode(errors="replace"))
            yield from _events(response)
        except HTTPError:
            # Silence, or a lost connection: the caller watches again from where it stopped.
            return
        finally:
            # Not released: the next user of the connection must not read the rest of the stream.
            response.close()


def _events(response: urllib3.BaseHTTPResponse) -> Iterator[tuple[str, Object]]:
    rest = b""
    # read1 returns what has arrived; read would wait for later events.
    while chunk := response.read1(65536):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in filter(None, lines):
            event = json.loads(line)
            yield event.get("type", ""), event.get("object") or {}


def _selectors(labels: str, fields: str) -> dict[str, str]:
    return {**({"labelSelector": labels} if labels else {}), **({"fieldSelector": fields} if fields else {})}


def _cause(error: Exception) -> str:
    reason = getattr(error, "reason", None) or error
    return str(reason)


def _load(config: Config, configuration: Any) -> urllib3.PoolManager:
    """Fill `configuration` from a kubeconfig; the connections that it describes."""
    from kubernetes.config import kube_config

    loader: Any = kube_config
    with _LOADING, tempfile.TemporaryDirectory(prefix="modelops-") as folder:
        # The loader writes the kubeconfig's keys into files, which are read below and must not be left behind.
        try:
            loader.load_kube_config_from_dict(config, client_configuration=configuration, temp_file_path=folder)
            return _pool(configuration)
        except Exception as error:  # the loader raises errors of any type
            raise Unreachable(f"unable to load Kubernetes client configuration from kubeconfig: {error}") from error
        finally:
            loader._cleanup_temp_files()


def _pool(configuration: Any) -> urllib3.PoolManager:
    # One context for all connections: loading the CA for each would cost more than the requests.
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert or None)
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, configuration.key_file)
    arguments: dict[str, Any] = {"ssl_context": context, "maxsize": MAX_CONNECTIONS}
    if configuration.tls_server_name:
        arguments["server_hostname"] = configuration.tls_server_name
    if configuration.proxy:
        return urllib3.ProxyManager(configuration.proxy, proxy_headers=configuration.proxy_headers, **arguments)
    return urllib3.PoolManager(**arguments)


def segment(value: str) -> str:
    """`value` as one segment of a path."""
    return quote(value, safe="")
