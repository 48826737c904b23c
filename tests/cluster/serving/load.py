"""Constant load on a service: some callers with a new connection each time, some that keep theirs."""

import http.client
import json
import threading
from dataclasses import dataclass, field
from urllib.parse import urlsplit

BODY = json.dumps({"inputs": [[0.5]]})
HEADERS = {"Content-Type": "application/json"}
TIMEOUT_SECONDS = 30


@dataclass
class Load:
    """Callers that post without a retry for as long as the `with` block runs; every failure is kept."""

    url: str
    callers: int = 4
    """Half of them keep their connections."""
    pause_seconds: float = 0.02
    answered: int = 0
    failed: list[str] = field(default_factory=list)
    answers: set[float] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> "Load":
        for number in range(self.callers):
            thread = threading.Thread(target=self._call_on, args=(number % 2 == 0,), daemon=True)
            self._threads.append(thread)
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _call_on(self, keep: bool) -> None:
        parts = urlsplit(self.url)
        connection = http.client.HTTPConnection(parts.netloc, timeout=TIMEOUT_SECONDS)
        while not self._stop.wait(self.pause_seconds):
            kind = "kept" if keep else "new"
            try:
                connection.request("POST", parts.path, BODY, HEADERS)
                response = connection.getresponse()
                content = response.read()
            except (OSError, http.client.HTTPException) as error:
                self._note(f"{kind} connection: {error!r}")
                connection.close()
                continue
            if response.status == 200:
                self._note(answer=json.loads(content)["outputs"][0])
            else:
                self._note(f"{kind} connection: {response.status} {content[:200]!r}")
            if not keep:
                connection.close()

    def _note(self, failure: str | None = None, answer: float = 0) -> None:
        with self._lock:
            if failure is None:
                self.answered += 1
                self.answers.add(answer)
            else:
                self.failed.append(failure)
