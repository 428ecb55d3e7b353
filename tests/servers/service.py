"""The scripted server itself: what it does with a request, from its arrival to the last byte of its answer."""

import asyncio
import itertools
import json
import secrets
import socket
import struct
import time
from contextlib import nullcontext
from typing import Any

from aiohttp import web
from servers.completion import Messages, complete, digest_of, events, latency_of, visible, words_in
from servers.faults import ERRORS, GARBLED, SPOILED, Fault, Rules, error_answer, refused
from servers.probes import fingerprint, probe_answers
from servers.script import PREFIXES, Script
from servers.seen import Seen

DRIPS = 20  # pieces of a dripping body

Body = dict[str, Any]


class Service:
    """The server's state and its handlers."""

    def __init__(self, script: Script) -> None:
        self.url = ""
        self._start = secrets.token_hex(4)
        self._numbers = itertools.count(1)  # not reset with what was seen: ids stay unique
        self.use(script)
        self.reset()

    def use(self, script: Script) -> None:
        """Behave differently from now on; the rules of faults begin to count anew."""
        self.script = script
        self._rules = Rules(script.faults)
        self._slots = asyncio.Semaphore(script.slots) if script.slots else nullcontext()
        self._probes = probe_answers(script)

    def reset(self) -> None:
        """Forget what was seen and where the rules of faults were."""
        self.seen = Seen()
        self._rules = Rules(self.script.faults)

    def app(self) -> web.Application:
        """The application, with the chats under every kind's path."""
        app = web.Application(client_max_size=64 * 2**20)
        for prefix in sorted(set(PREFIXES.values())):
            app.router.add_post(f"{prefix}/chat/completions", self._chat)
        app.router.add_get("/_seen", self._tell)
        app.router.add_get("/_counts", self._count)
        app.router.add_post("/_reset", self._forget)
        app.router.add_post("/_script", self._change)
        app.router.add_get("/{path:.*}", self._probe)
        return app

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        try:
            body = json.loads(raw)
            messages = visible(body, self.script)
            digest = digest_of(body)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError):
            return _plain(*refused("The body is not a chat request."))
        seen = self.seen
        attempt = seen.arrives(digest, body, request.headers.get("Authorization"))
        number = next(self._numbers)
        fault = self._rules.strike(messages[-1][1] if messages else "", digest, attempt)
        if fault:
            seen.faults[fault.kind] += 1
        done = False
        try:
            if error := self._error(request, body, messages, fault):
                done = True
                return _plain(*error)
            async with self._slots:
                if fault and fault.kind in ("reset", "hang"):
                    done = fault.kind == "reset"
                    return await _no_answer(request, fault)
                took = latency_of(body.get("seed"), body["messages"], self.script.median, self.script.sigma)
                streams = bool(body.get("stream")) and "stream" not in self.script.ignore
                if not streams:
                    await asyncio.sleep(took)
                pieces = self._pieces(body, messages, number, fault, streams)
                done = True
                seen.billed[digest] += 1
                return await _deliver(request, pieces, fault, took if streams else None)
        finally:
            seen.in_flight -= 1
            seen.abandoned += not done

    def _error(
        self, request: web.Request, body: Body, messages: Messages, fault: Fault | None
    ) -> tuple[int, dict[str, str], bytes] | None:
        script = self.script
        if fault and fault.kind in ERRORS:
            return error_answer(fault)
        if script.key and request.headers.get("Authorization") != f"Bearer {script.key}":
            return refused("Incorrect API key provided.", "401")
        if script.models and body.get("model") not in script.models:
            return refused(f"The model `{body.get('model')}` does not exist.", "404")
        for name in script.refuse:
            if name == "system" and any(message["role"] == "system" for message in body["messages"]):
                return refused("System role not supported.")
            if name == (body.get("response_format") or {}).get("type"):
                return refused(f"Invalid value for 'response_format.type': '{name}' is not supported with this model.")
            if body.get(name) is not None:
                return refused(f"Unsupported parameter: '{name}' is not supported with this model.")
        prompt = words_in(messages)
        limit = body.get("max_completion_tokens") or body.get("max_tokens") or 0
        if prompt + limit > script.context:
            asked = f"{prompt + limit} tokens ({prompt} in the messages, {limit} in the completion)"
            told = f"This model's maximum context length is {script.context} tokens. However, you requested {asked}."
            return refused(told, "context_length")
        return None

    def _pieces(self, body: Body, messages: Messages, number: int, fault: Fault | None, streams: bool) -> list[bytes]:
        """The answer's body: whole, or as the events of a stream."""
        identity = {"id": f"chatcmpl-{self._start}-{number}", "created": int(time.time())}
        identity["system_fingerprint"] = f"fp_{fingerprint(self.script)[:10]}"
        completion = identity | complete(body, messages, self.script, number)
        kind = fault.kind if fault else ""
        if kind in SPOILED:
            completion = SPOILED[kind](completion)
        if streams:
            usage = bool((body.get("stream_options") or {}).get("include_usage"))
            pieces = events(completion, usage)
        else:
            pieces = [json.dumps(completion).encode()]
        return [GARBLED[kind](b"".join(pieces))] if kind in GARBLED else pieces

    async def _probe(self, request: web.Request) -> web.StreamResponse:
        path = request.path
        self.seen.probes[path] += 1
        fault = self._rules.strike("", path, self.seen.probes[path], probe=True)
        if fault:
            self.seen.faults[fault.kind] += 1
        if fault and fault.kind in ERRORS:
            return _plain(*error_answer(fault))
        if fault and fault.kind in ("reset", "hang"):
            return await _no_answer(request, fault)
        if path not in self._probes:
            return _plain(*refused(f"There is no {path}.", "404"))
        body = json.dumps(self._probes[path]).encode()
        return await _deliver(request, [GARBLED[fault.kind](body) if fault and fault.kind in GARBLED else body], fault)

    async def _tell(self, request: web.Request) -> web.Response:
        return web.json_response(self.seen.as_dict())

    async def _count(self, request: web.Request) -> web.Response:
        return web.json_response(self.seen.numbers())

    async def _forget(self, request: web.Request) -> web.Response:
        self.reset()
        return web.json_response({})

    async def _change(self, request: web.Request) -> web.Response:
        self.use(Script.of(await request.json()))
        return web.json_response({})


def _plain(status: int, headers: dict[str, str], body: bytes) -> web.Response:
    return web.Response(status=status, headers=headers, body=body, content_type="application/json")


async def _no_answer(request: web.Request, fault: Fault) -> web.Response:
    if fault.kind == "hang":
        await asyncio.Event().wait()
    if transport := request.transport:
        # Without lingering the kernel sends a reset, and not the polite end of a connection.
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    return web.Response()


async def _deliver(
    request: web.Request, pieces: list[bytes], fault: Fault | None, stream_seconds: float | None = None
) -> web.StreamResponse:
    """Send the body: at once, as a stream that takes so many seconds, dripping, or only half of it."""
    kind = fault.kind if fault else ""
    content_type = "application/json" if stream_seconds is None else "text/event-stream"
    content_type = {"html": "text/html", "wrong_type": "text/plain"}.get(kind, content_type)
    if stream_seconds is None and kind not in ("cut", "drip"):
        return web.Response(body=pieces[0], content_type=content_type)

    response = web.StreamResponse(headers={"Content-Type": content_type})
    body = b"".join(pieces)
    if stream_seconds is None:
        response.content_length = len(body)
    if kind == "drip" and fault:
        size = max(1, -(-len(body) // DRIPS))
        pieces = [body[at : at + size] for at in range(0, len(body), size)]
    if kind == "cut":
        pieces = [body[: len(body) // 2]]
    pause = (fault.seconds if kind == "drip" and fault else stream_seconds or 0) / max(1, len(pieces))
    await response.prepare(request)
    for piece in pieces:
        if pause:
            await asyncio.sleep(pause)
        await response.write(piece)
    if kind == "cut":
        if request.transport:
            request.transport.close()
        return response
    await response.write_eof()
    return response
