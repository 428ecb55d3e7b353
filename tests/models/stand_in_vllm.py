"""As much of a vLLM as a tutor in training talks to, around any weights here: over HTTP, and as an object."""

import json
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from diotima.models.chat import Sampling
from diotima.models.generation import Context, sample_replies

INFO = {
    "vllm_config": {
        "weight_transfer_config": {"backend": "nccl"},
        "model_config": {"logprobs_mode": "processed_logprobs"},
    }
}
Answer = tuple[int, Mapping[str, Any]]


def sampled(model: Any, ids: Sequence[int], asked: Mapping[str, Any]) -> tuple[list[int], list[float]]:
    """What these weights say next, asked in vLLM's words."""
    sampling = Sampling(asked["temperature"], asked["top_p"], asked["max_tokens"], asked["seed"])
    (reply,) = sample_replies(model, [Context(tuple(ids), sampling)], frozenset(asked["stop_token_ids"]), 0)
    return list(reply.ids), list(reply.logprobs)


def completing(model: Any) -> Callable[[Mapping[str, Any]], Answer]:
    """Answers /v1/completions as vLLM does, with these weights."""
    lock = threading.Lock()

    def answer(body: Mapping[str, Any]) -> Answer:
        with lock:
            ids, logprobs = sampled(model, body["prompt"], body)
        choice = {"prompt_token_ids": body["prompt"], "token_ids": ids, "logprobs": {"token_logprobs": logprobs}}
        return 200, {"choices": [choice]}

    return answer


@contextmanager
def serving(answer: Callable[[Mapping[str, Any]], Answer], info: Mapping[str, Any] = INFO) -> Iterator[str]:
    """The URL of a server that answers every request for ids so, and tells this of itself."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._send((200, info) if info and self.path.startswith("/server_info") else (404, {}))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            self._send(answer(body) if self.path == "/v1/completions" else (404, {}))

        def _send(self, answered: Answer) -> None:
            content = json.dumps(answered[1]).encode()
            self.send_response(answered[0])
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


class Engine:
    """vLLM's LLM around these weights: what was done to it stands in ``events``, and asleep it cannot speak."""

    def __init__(self, model: Any, room: int = 4096) -> None:
        self.model = model
        self.llm_engine = SimpleNamespace(model_config=SimpleNamespace(max_model_len=room))
        self.events: list[str] = []
        self.awake: set[str] = set()

    def wake_up(self, tags: list[str]) -> None:
        self.events += [f"wake {tag}" for tag in tags]
        self.awake |= set(tags)

    def sleep(self, level: int) -> None:
        self.events.append(f"sleep {level}")
        self.awake.clear()

    def generate(self, prompts: Sequence[Any], *, sampling_params: Sequence[Any], use_tqdm: bool) -> list[Any]:
        assert self.awake == {"weights", "kv_cache"}
        assert not use_tqdm
        if self.events[-1:] != ["speak"]:
            self.events.append("speak")
        outputs = []
        for prompt, asked in zip(prompts, sampling_params, strict=True):
            ids, logprobs = sampled(self.model, prompt["prompt_token_ids"], vars(asked))
            told = [{one: SimpleNamespace(logprob=logprob)} for one, logprob in zip(ids, logprobs, strict=True)]
            outputs.append(SimpleNamespace(outputs=[SimpleNamespace(token_ids=ids, logprobs=told)]))
        return outputs


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ``from vllm import SamplingParams`` succeed."""
    module: Any = ModuleType("vllm")
    module.SamplingParams = SimpleNamespace
    monkeypatch.setitem(sys.modules, "vllm", module)
