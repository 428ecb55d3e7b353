"""The wire: one address that answers requests, over the openai SDK with its aiohttp transport.

The SDK's own retries are off, because every attempt is booked and paced (see `calls`), and its types are passed by:
what counts is the raw body. Whatever happens is a value, not an exception. A key is read from the environment when a
server is opened, and stands in nothing that is written or told: where a server repeats it, it is struck out.
"""

import asyncio
import os
import re
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from diotima.errors import ModelError

if TYPE_CHECKING:
    import httpx2
    from openai import AsyncOpenAI

CONNECT_SECONDS = 10.0
LARGEST_BODY = 32 * 2**20  # bytes; a longer answer is no answer
SHORTEST_SECRET = 10  # characters; what is shorter (EMPTY, ollama) is a word of answers rather than a key


@dataclass(frozen=True, slots=True)
class Sent:
    """What came of sending a request.

    ``status`` is None where no whole answer came; then ``reason`` says why, and ``left`` whether the request may have
    reached the server: where there was no connection it cannot have been billed.
    """

    status: int | None
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""
    left: bool = True


class Server:
    """One address. ``key``: the name of an environment variable, or "". Raises ModelError if that is not set."""

    def __init__(self, url: str, key: str, timeout: float) -> None:
        self.url = url
        self._secret = _secret(key)
        self._timeout = timeout
        self._open: AsyncGenerator[AsyncOpenAI] | None = None
        self._client: AsyncOpenAI | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def send(
        self, body: Mapping[str, Any], hear: Callable[[bytes], None] | None = None, path: str = "/chat/completions"
    ) -> Sent:
        """Ask for a reply, once. With ``hear`` a chat's is asked for in pieces, and each line of events handed over."""
        import httpx2

        client = await self._opened()
        if hear is not None:
            return await self._settled(self._in_pieces(client, body, hear))
        return await self._settled(self._whole(client.post(path, cast_to=httpx2.Response, body=dict(body))))

    async def get(self, path: str, seconds: float = CONNECT_SECONDS) -> Sent:
        """Read something of the server at a whole address, or at a path behind its own."""
        import httpx2

        client = await self._opened()
        return await self._settled(self._whole(client.get(path, cast_to=httpx2.Response)), seconds)

    async def close(self) -> None:
        """Close all connections; the next request opens new ones."""
        opened, self._open, self._client = self._open, None, None
        if opened is not None and self._loop is asyncio.get_running_loop():
            await opened.aclose()

    async def _whole(self, asked: "Awaitable[httpx2.Response]") -> Sent:
        response = await asked
        if len(response.content) > LARGEST_BODY:  # it was compressed
            raise _TooLongError
        return Sent(response.status_code, self._struck(response.content), response.headers)

    async def _in_pieces(self, client: "AsyncOpenAI", body: Mapping[str, Any], hear: Callable[[bytes], None]) -> Sent:
        rest = {name: value for name, value in body.items() if name not in ("messages", "model")}
        rest["stream_options"] = {"include_usage": True}
        lines: list[bytes] = []

        def heard(line: bytes) -> None:
            lines.append(self._struck(line))
            hear(lines[-1])

        torn = bytearray()
        async with client.chat.completions.with_streaming_response.create(
            messages=body["messages"], model=body["model"], stream=True, extra_body=rest
        ) as response:
            # Not iter_lines, which also breaks lines where a model's text has U+2028 or U+0085.
            async for piece in response.iter_bytes():
                torn += piece
                if b"\n" in piece:
                    *whole, torn = torn.split(b"\n")
                    for line in whole:
                        heard(bytes(line))
        if torn:
            heard(bytes(torn))
        return Sent(200, b"\n".join(lines), response.headers)

    async def _settled(self, asked: Awaitable[Sent], seconds: float | None = None) -> Sent:
        import httpx2
        import openai

        seconds = self._timeout if seconds is None else seconds
        try:
            async with asyncio.timeout(seconds):
                return await asked
        except openai.APIStatusError as error:
            return Sent(error.response.status_code, self._struck(error.response.content), error.response.headers)
        except (openai.OpenAIError, httpx2.HTTPError, _TooLongError, OSError) as error:
            return Sent(None, reason=self._reason(error, seconds), left=_left(error))

    def _reason(self, error: BaseException, seconds: float) -> str:
        return self._struck(_cause(error, seconds).encode()).decode()

    def _struck(self, text: bytes) -> bytes:
        return text.replace(self._secret.encode(), b"[key]") if len(self._secret) >= SHORTEST_SECRET else text

    async def _opened(self) -> "AsyncOpenAI":
        """The client of the running loop; connections belong to the loop in which they were made."""
        loop = asyncio.get_running_loop()
        if self._client is None or self._loop is not loop:
            self._loop, self._open = loop, self._until_the_loop_ends()
            self._client = await anext(self._open)
        return self._client

    async def _until_the_loop_ends(self) -> AsyncGenerator["AsyncOpenAI"]:
        """The client, which is closed with this generator: by `close`, or by ``asyncio.run`` at its end."""
        import httpx2
        from openai import AsyncOpenAI, DefaultAioHttpClient

        timeout = httpx2.Timeout(self._timeout, connect=CONNECT_SECONDS)
        wire = DefaultAioHttpClient(
            timeout=timeout, follow_redirects=False, event_hooks={"response": [_limit_body]},
        )  # fmt: skip
        client = AsyncOpenAI(
            api_key=self._secret or "none", base_url=self.url, timeout=timeout, max_retries=0, http_client=wire
        )
        # The SDK takes these from the environment, and they are nobody else's business.
        client.organization = client.project = None
        client._custom_headers = {}
        try:
            yield client
        finally:
            await client.close()


class _TooLongError(Exception):
    """An answer beyond `LARGEST_BODY`."""


async def _limit_body(response: "httpx2.Response") -> None:
    whole: Any = response.stream

    class Limited:
        async def __aiter__(self) -> AsyncIterator[bytes]:
            size = 0
            async for piece in whole:
                size += len(piece)
                if size > LARGEST_BODY:
                    raise _TooLongError
                yield piece

        async def aclose(self) -> None:
            await whole.aclose()

    announced = response.headers.get("content-length", "")
    if not (announced.isdigit() and int(announced) <= LARGEST_BODY):
        response.stream = _as_stream(Limited())


def _as_stream(stream: Any) -> Any:
    import httpx2

    class Stream(httpx2.AsyncByteStream):
        def __aiter__(self) -> AsyncIterator[bytes]:
            pieces: AsyncIterator[bytes] = stream.__aiter__()
            return pieces

        async def aclose(self) -> None:
            await stream.aclose()

    return Stream()


def _secret(key: str) -> str:
    if not key:
        return ""
    secret = os.environ.get(key, "").strip()
    if not secret and not re.fullmatch("[A-Z_][A-Z0-9_]*", key):
        # It may be the key itself, which is not to be shown.
        raise ModelError(
            "`key` has to be the name of an environment variable such as LAB_KEY, and there is none so named"
        )
    if not secret:
        raise ModelError(f"the environment variable {key} is not set; it has to hold the key: export {key}=...")
    if not (secret.isascii() and secret.isprintable()) or " " in secret:
        raise ModelError(
            f"what the environment variable {key} holds is no key: it has blanks or signs that keys have not"
        )
    return secret


def _left(error: BaseException) -> bool:
    """Whether a request may have been sent before this happened."""
    import aiohttp

    never = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
    below: BaseException | None = error
    while below is not None:
        if isinstance(below, never):
            return False
        below = below.__cause__
    return True


def _cause(error: BaseException, seconds: float) -> str:
    """What went wrong below the SDK, whose own words are only "Connection error."."""
    import aiohttp

    below = error
    while below.__cause__ is not None and type(below) is not TimeoutError:
        if isinstance(below, aiohttp.ClientPayloadError):
            return "the answer broke off"
        below = below.__cause__
    if isinstance(below, _TooLongError):
        return f"the answer is longer than {LARGEST_BODY // 2**20} MiB"
    if isinstance(below, aiohttp.ConnectionTimeoutError):
        return f"no connection in {CONNECT_SECONDS:g} seconds"
    if isinstance(below, OSError) and below.errno and not isinstance(below, ssl.SSLError):
        return os.strerror(below.errno) if below.errno > 0 else str(below.strerror)  # names that cannot be resolved
    if isinstance(below, TimeoutError):
        return f"no whole answer in {seconds:g} seconds"
    return (" ".join(str(below).split()) or type(below).__name__)[:300]
