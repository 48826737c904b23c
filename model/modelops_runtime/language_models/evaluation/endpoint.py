"""A model behind an endpoint that speaks OpenAI's API, such as vLLM's, asked at temperature 0."""

import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from modelops_runtime.contract import ConfigurationError, ContractError
from modelops_runtime.language_models.evaluation.models import Answer
from modelops_runtime.language_models.evaluation.rows import Prompt
from modelops_runtime.registry.sources.retry import NotReachable, Refused, retried

TIMEOUT_SECONDS = 600
"""Of one answer."""
BUSY = (408, 409, 425, 429, 500, 502, 503, 504)
KEY = "OPENAI_API_KEY"


class EndpointModel:
    """`url` ends before `/chat/completions`: with vLLM, in `/v1`."""

    def __init__(self, url: str, name: str, wait_seconds: float) -> None:
        """`name`: of the model there; empty: the only one that it has."""
        self._url, self._wait_seconds = url.rstrip("/"), wait_seconds
        self.name = name or self._only()

    def answers(self, prompts: Sequence[Prompt], max_tokens: int, batch_size: int) -> Iterator[Answer]:
        with ThreadPoolExecutor(batch_size) as pool:
            yield from pool.map(lambda prompt: self._answer(prompt, max_tokens), prompts)

    def _answer(self, prompt: Prompt, max_tokens: int) -> Answer:
        request = {"model": self.name, "temperature": 0, "max_tokens": max_tokens}
        started = time.monotonic()
        if isinstance(prompt, str):
            reply = self._asked("completions", {**request, "prompt": prompt})
        else:
            reply = self._asked("chat/completions", {**request, "messages": prompt})
        seconds = time.monotonic() - started
        try:
            choice = reply["choices"][0]
            text = choice["text"] if isinstance(prompt, str) else choice["message"].get("content")
            tokens = int(reply["usage"]["completion_tokens"])
            return Answer(text or "", tokens, seconds, choice["finish_reason"] != "length")
        except (KeyError, IndexError, TypeError) as error:
            raise ContractError(f"{self._url} did not answer as OpenAI's API does: {error!r}") from error

    def _only(self) -> str:
        names = [str(each["id"]) for each in self._asked("models", None).get("data", [])]
        if len(names) != 1:
            raise ConfigurationError(
                f"{self._url} has the models {', '.join(names)}: MODELOPS_EVALUATED_NAME says which"
            )
        return names[0]

    def _asked(self, path: str, content: dict[str, Any] | None) -> Any:
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get(KEY):
            headers["Authorization"] = f"Bearer {key}"
        body = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(f"{self._url}/{path}", body, headers)

        def attempt() -> Any:
            try:
                with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as reply:
                    return json.load(reply)
            except urllib.error.HTTPError as error:
                said = f"{error.code} {error.read(500).decode(errors='replace')}"
                raise (NotReachable if error.code in BUSY else Refused)(said) from None
            except ValueError as error:
                raise Refused(f"no JSON: {error}") from None
            except OSError as error:
                raise NotReachable(str(getattr(error, "reason", "") or error)) from None

        return retried(attempt, self._url, path, self._wait_seconds)

    def for_harness(self, batch_size: int, tokenizer: str | None) -> Any:
        """By the harness's own client, which counts tokens by itself."""
        from lm_eval.models.openai_completions import LocalCompletionsAPI

        try:
            return LocalCompletionsAPI(
                base_url=f"{self._url}/completions",
                model=self.name,
                tokenizer=tokenizer,
                tokenizer_backend="huggingface" if tokenizer else "remote",
                num_concurrent=batch_size,
                auth_token=os.environ.get(KEY),
            )
        except (OSError, RuntimeError, ValueError) as error:
            raise ConfigurationError(
                f"evaluation harness: no tokenizer: {error}; give harness.tokenizer, a folder with the model's"
            ) from error
