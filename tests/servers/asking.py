"""A small client for the tests of the scripted server itself."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
from servers.script import PREFIXES
from servers.scripted import Script, Service, serving

HELLO = ({"role": "system", "content": "You are a tutor."}, {"role": "user", "content": "How many apples are there?"})


def chat(**more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": list(HELLO), **more}


class Client:
    def __init__(self, server: Service, session: aiohttp.ClientSession) -> None:
        self.server = server
        self._session = session

    async def post(self, body: dict[str, Any], headers: dict[str, str] | None = None) -> tuple[int, Any, bytes]:
        async with self._session.post(f"{self.server.url}/chat/completions", json=body, headers=headers) as response:
            return response.status, response.headers, await response.read()

    async def ask(self, **more: Any) -> dict[str, Any]:
        status, _, body = await self.post(chat(**more))
        assert status == 200, body
        return dict(json.loads(body))

    async def text(self, **more: Any) -> str:
        return str((await self.ask(**more))["choices"][0]["message"]["content"])

    async def get(self, path: str) -> tuple[int, Any]:
        root = self.server.url.removesuffix(PREFIXES[self.server.script.kind])
        async with self._session.get(root + path) as response:
            return response.status, await response.json()


def play(script: Script, use: Callable[[Client], Awaitable[Any]]) -> Any:
    async def within() -> Any:
        async with serving(script) as server, aiohttp.ClientSession() as session:
            return await use(Client(server, session))

    return asyncio.run(within())
