"""The wire: one address that answers requests, over the openai SDK with its aiohttp transport.

The SDK's own retries are off, because every attempt is booked and paced (see `calls`), and its types are passed by:
what counts is the raw body. Whatever happens is a value, not an exception. A key is read from the environment when a
server is opened, and stands in nothing that is written or told: where a server repeats it, it is struck out.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from diotima.errors import ModelError

if TYPE_CHECKING:
    import httpx2
    from openai import AsyncOpenAI

CONNECT_SECONDS = 10.0
LARGEST_BODY = 32 * 2**20  # bytes; a longer answer is no answer


@dataclass(frozen=True, slots=True)
class Sent:
    """What came of sending a request. ``status`` is None where no whole answer came; then ``reason`` says why."""

    status: int | None
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""


class Server:
    """One address. ``key``: the name of an environment variable, or "". Raises ModelError if that is not set."""

    def __init__(self, url: str, key: str, timeout: float) -> None:
        self.url = url
        self._secret = _secret(key)
        self._timeout = timeout
        self._client: AsyncOpenAI | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def send(self, body: Mapping[str, Any]) -> Sent:
        """Ask for a reply, once."""
        import httpx2

        return await self._settled(self._opened().post("/chat/completions", cast_to=httpx2.Response, body=dict(body)))

    async def get(self, path: str, seconds: float = CONNECT_SECONDS) -> Sent:
        """Read something of the server at a whole address, or at a path behind its own."""
        import httpx2

        asked = self._opened().get(path, cast_to=httpx2.Response)
        return await self._settled(asked, seconds)

    async def stream(self, body: Mapping[str, Any]) -> AsyncIterator[bytes]:
        """Ask for a reply in pieces; yields the lines of the event stream. Raises ModelError with what went wrong."""
        import openai

        rest = {name: value for name, value in body.items() if name not in ("messages", "model")}
        rest["stream_options"] = {"include_usage": True}
        opened = self._opened().chat.completions.with_streaming_response.create(
            messages=body["messages"], model=body["model"], stream=True, extra_body=rest
        )
        try:
            async with asyncio.timeout(self._timeout), opened as response:
                async for line in response.iter_lines():
                    yield self._struck(line.encode())
        except openai.APIStatusError as error:
            raise ModelError(f"{self.url} answered {error.status_code}: {self._struck(error.response.content)!r}") from None
        except (openai.APIConnectionError, _TooLong, TimeoutError) as error:
            raise ModelError(f"{self.url}: {_cause(error)}") from None

    async def close(self) -> None:
        """Close all connections; the next request opens new ones."""
        client, self._client = self._client, None
        if client is not None and self._loop is asyncio.get_running_loop():
            await client.close()

    async def _settled(self, asked: Any, seconds: float | None = None) -> Sent:
        import openai

        try:
            async with asyncio.timeout(self._timeout if seconds is None else seconds):
                response: httpx2.Response = await asked
        except openai.APIStatusError as error:
            response = error.response
        except TimeoutError:
            return Sent(None, reason=f"no whole answer in {self._timeout if seconds is None else seconds:g} seconds")
        except _TooLong:
            return Sent(None, reason=f"the answer is longer than {LARGEST_BODY // 2**20} MiB")
        except (openai.OpenAIError, OSError) as error:
            return Sent(None, reason=self._struck(_cause(error).encode()).decode())
        return Sent(response.status_code, self._struck(response.content), response.headers)

    def _struck(self, text: bytes) -> bytes:
        secret = self._secret.encode()
        return text.replace(secret, b"[key]") if secret and secret in text else text

    def _opened(self) -> "AsyncOpenAI":
        """The client of the running loop; connections belong to the loop in which they were made."""
        import httpx2
        from openai import AsyncOpenAI, DefaultAioHttpClient

        loop = asyncio.get_running_loop()
        if self._client is None or self._loop is not loop:
            timeout = httpx2.Timeout(self._timeout, connect=CONNECT_SECONDS)
            wire = DefaultAioHttpClient(
                timeout=timeout, follow_redirects=False, event_hooks={"response": [_limit_body]},
            )  # fmt: skip
            self._client = AsyncOpenAI(
                api_key=self._secret or "none", base_url=self.url, timeout=timeout, max_retries=0, http_client=wire
            )
            # The SDK takes these from the environment, and they are nobody else's business.
            self._client.organization = self._client.project = None
            self._loop = loop
        return self._client


class _TooLong(Exception):
    """An answer beyond `LARGEST_BODY`."""


async def _limit_body(response: "httpx2.Response") -> None:
    whole: Any = response.stream

    class Limited:
        async def __aiter__(self) -> AsyncIterator[bytes]:
            size = 0
            async for piece in whole:
                size += len(piece)
                if size > LARGEST_BODY:
                    raise _TooLong
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
    if not secret:
        raise ModelError(f"the environment variable {key} is not set; it has to hold the key: export {key}=...")
    return secret


def _cause(error: BaseException) -> str:
    """What went wrong below the SDK, whose own words are only "Connection error."."""
    below = error.__cause__ or error
    below = below.__cause__ or below
    words = " ".join(str(below).split()) or type(below).__name__
    return words[:300]
