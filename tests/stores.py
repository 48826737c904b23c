"""Object stores on this machine, by programs that speak the protocols of S3, Google Cloud Storage and Azure."""

import base64
import hashlib
import hmac
import json
import os
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from tests import toolchain

AZURITE = "azurite@3.37.0"
BUCKET = "models"
ACCOUNT = "devstoreaccount1"
ACCOUNT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""Azurite's well-known account."""
KINDS = ("s3", "gs", "az")


@dataclass(frozen=True)
class ObjectStore:
    """A running server with one empty bucket."""

    uri: str
    """The bucket's address."""
    variables: Mapping[str, str]
    """The settings of obstore, as a user would give them."""
    endpoint: str
    mlflow_uri: str = ""
    """The same for MLflow."""
    mlflow_variables: Mapping[str, str] = field(default_factory=dict)
    """The settings of the libraries that MLflow uses."""

    def put(self, name: str, content: bytes) -> None:
        self._store().put(name, content, use_multipart=False)

    def get(self, name: str) -> bytes:
        return bytes(self._store().get(name).bytes())

    def remove(self, name: str) -> None:
        self._store().delete(name)

    def put_as_written(self, key: str, content: bytes = b"") -> None:
        """Also under a key that obstore doesn't write: with a slash at its end, an empty part, or a tab."""
        if self.uri.startswith("gs:"):
            query = urlencode({"uploadType": "media", "name": key})
            _send(f"{self.endpoint}/upload/storage/v1/b/{BUCKET}/o?{query}", content)
        elif self.uri.startswith("az:"):
            from azure.storage.blob import BlobServiceClient

            connection = self.mlflow_variables["AZURE_STORAGE_CONNECTION_STRING"]
            service = BlobServiceClient.from_connection_string(connection, api_version="2021-08-06")
            service.get_blob_client(BUCKET, key).upload_blob(content, overwrite=True)
        else:
            _send(_signed_for_s3(self.endpoint, f"/{BUCKET}/{quote(key)}", self.variables), content, method="PUT")

    def names(self) -> list[str]:
        return sorted(each["path"] for page in self._store().list() for each in page)

    def _store(self) -> Any:
        import obstore.store

        settings = {name.lower(): value for name, value in self.variables.items()}
        return obstore.store.from_url(self.uri, config=settings, client_options={"allow_http": True})


@contextmanager
def running(kind: str, folder: Path) -> Iterator[ObjectStore]:
    """An object store of a kind (`s3`, `gs`, `az`), whose files are in `folder` while it runs."""
    with {"s3": _s3, "gs": _gcs, "az": _azure}[kind](folder) as store:
        yield store


@contextmanager
def _s3(folder: Path) -> Iterator[ObjectStore]:
    port = _free_port()
    for name in (f"data/{BUCKET}", "meta"):
        (folder / name).mkdir(parents=True)
    key, secret = "planted-key", "planted-secret"
    command = [
        toolchain.build("s3") / "versitygw",
        f"--port=127.0.0.1:{port}",
        "--region=us-east-1",
        "--health=/health",
    ]
    command += ["posix", f"--sidecar={folder}/meta", f"{folder}/data"]
    variables = {"ROOT_ACCESS_KEY_ID": key, "ROOT_SECRET_ACCESS_KEY": secret}
    endpoint = f"http://127.0.0.1:{port}"
    with _process(command, folder, f"{endpoint}/health", variables):
        settings = {"AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret}
        yield ObjectStore(f"s3://{BUCKET}", {**settings, "AWS_DEFAULT_REGION": "us-east-1"}, endpoint)


@contextmanager
def _gcs(folder: Path) -> Iterator[ObjectStore]:
    port = _free_port()
    behind = f"http://127.0.0.1:{port}"
    command = [toolchain.build("gcs") / "fake-gcs-server", "-scheme=http", "-host=127.0.0.1", f"-port={port}"]
    command += [f"-public-host=127.0.0.1:{port}", "-backend=memory", "-log-level=warn"]
    with _process(command, folder, f"{behind}/_internal/healthcheck"), _gcs_uploads(behind) as endpoint:
        _send(f"{behind}/storage/v1/b?project=test", json.dumps({"name": BUCKET}).encode())
        account = {"gcs_base_url": endpoint, "disable_oauth": True, "client_email": "", "private_key": ""}
        variables = {"GOOGLE_SERVICE_ACCOUNT_KEY": json.dumps({**account, "private_key_id": ""})}
        yield ObjectStore(
            f"gs://{BUCKET}", variables, behind, f"gs://{BUCKET}/mlflow", {"STORAGE_EMULATOR_HOST": behind}
        )


@contextmanager
def _gcs_uploads(behind: str) -> Iterator[str]:
    """In front of fake-gcs-server, which has Google's XML API only for reading, while obstore writes by it: its uploads
    become those of the JSON API, and all else goes through."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))) or None
            bucket, _, name = self.path.lstrip("/").partition("/")
            upload = self.command == "PUT" and "?" not in self.path
            path = f"/upload/storage/v1/b/{bucket}/o?uploadType=media&name={name}" if upload else self.path
            if upload and (generation := self.headers.get("x-goog-if-generation-match")):
                path += f"&ifGenerationMatch={generation}"
            headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
            method = "POST" if upload else self.command
            request = urllib.request.Request(behind + path, body, {**headers, "Host": behind[7:]}, method=method)
            try:
                answer: Any = urllib.request.urlopen(request, timeout=30)
            except urllib.error.HTTPError as error:
                answer = error
            with answer:
                content = answer.read()
            self.send_response(answer.status)
            length = answer.headers["Content-Length"] if self.command == "HEAD" else str(len(content))
            kept = {name: value for name, value in answer.headers.items() if name.lower() not in _HOP}
            if upload and answer.status == 200:
                kept["ETag"], content, length = json.loads(content)["etag"], b"", "0"
            for header, value in {**kept, "Content-Length": length}.items():
                self.send_header(header, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _pass_on

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


_HOP = ("content-length", "transfer-encoding", "connection", "date", "server")


@contextmanager
def _azure(folder: Path) -> Iterator[ObjectStore]:
    if not shutil.which("npm"):
        pytest.skip("Azurite is a Node program, and Node is not on this machine")
    port = _free_port()
    command = [toolchain.node_program(AZURITE, "azurite-blob"), "--silent", "--skipApiVersionCheck"]
    command += ["--blobHost=127.0.0.1", f"--blobPort={port}", f"--location={folder}", "--disableTelemetry"]
    endpoint = f"http://127.0.0.1:{port}/{ACCOUNT}"
    with _process(command, folder, f"{endpoint}?comp=list"):
        _make_container(endpoint)
        variables = {"AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT, "AZURE_STORAGE_ACCESS_KEY": ACCOUNT_KEY}
        connection = (
            f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={ACCOUNT_KEY};BlobEndpoint={endpoint}"
        )
        yield ObjectStore(
            f"az://{BUCKET}",
            {**variables, "AZURE_STORAGE_ENDPOINT": endpoint},
            endpoint,
            f"wasbs://{BUCKET}@{ACCOUNT}.blob.core.windows.net/mlflow",
            {"AZURE_STORAGE_CONNECTION_STRING": connection},
        )


def _make_container(endpoint: str) -> None:
    """What obstore leaves to others, signed with the account's key."""
    headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-08-06"}
    signed = "".join(f"{name}:{value}\n" for name, value in headers.items())
    text = "PUT" + "\n" * 12 + f"{signed}/{ACCOUNT}/{ACCOUNT}/{BUCKET}\nrestype:container"
    signature = hmac.new(base64.b64decode(ACCOUNT_KEY), text.encode(), hashlib.sha256).digest()
    headers["Content-Length"] = "0"
    headers["Authorization"] = f"SharedKey {ACCOUNT}:{base64.b64encode(signature).decode()}"
    _send(f"{endpoint}/{quote(BUCKET)}?restype=container", None, headers, "PUT")


def _signed_for_s3(endpoint: str, path: str, variables: Mapping[str, str]) -> str:
    """The address of an upload, signed in its query."""
    now = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    scope = f"{now[:8]}/{variables['AWS_DEFAULT_REGION']}/s3/aws4_request"
    fields = {
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"{variables['AWS_ACCESS_KEY_ID']}/{scope}",
        "X-Amz-Date": now,
        "X-Amz-Expires": "60",
        "X-Amz-SignedHeaders": "host",
    }
    query = urlencode(fields, quote_via=quote, safe="")
    request = f"PUT\n{path}\n{query}\nhost:{endpoint.partition('//')[2]}\n\nhost\nUNSIGNED-PAYLOAD"
    text = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    key = f"AWS4{variables['AWS_SECRET_ACCESS_KEY']}".encode()
    for part in (*scope.split("/"), text):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return f"{endpoint}{path}?{query}&X-Amz-Signature={key.hex()}"


def _send(url: str, body: bytes | None, headers: Mapping[str, str] | None = None, method: str = "POST") -> None:
    request = urllib.request.Request(url, body, dict(headers or {}), method=method)
    with urllib.request.urlopen(request, timeout=30):
        pass


@contextmanager
def _process(
    command: list[Any], folder: Path, health: str, variables: Mapping[str, str] | None = None
) -> Iterator[None]:
    """A server that answers, whatever it answers, at its address `health`."""
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, env={**os.environ, **(variables or {})}, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 60
        while not _answers(health):
            if process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"{command[0]} did not start: {(folder / 'log').read_text()[-2000:]}")
            time.sleep(0.1)
        yield
    finally:
        process.kill()
        process.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


@pytest.fixture(scope="module", params=KINDS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    with running(request.param, tmp_path_factory.mktemp(request.param)) as made:
        yield made


def emptied(server: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    """The store, empty, and its settings in the environment."""
    for name in server.names():
        server.remove(name)
    for variable, value in server.variables.items():
        monkeypatch.setenv(variable, value)
    return server


@pytest.fixture
def store(server: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    return emptied(server, monkeypatch)
