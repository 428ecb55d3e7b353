"""A scripted server that speaks OpenAI's protocol on loopback, for tests and benchmarks.

In a test's own loop:                               In a process of its own (its CPU is not the client's):

    async with serving(Script(...)) as server:          with ScriptedServer(Script(...)) as server:
        ... server.url ... server.seen                      ... server.url ... server.seen()

Its replies are a pure function of model, messages and seed (`voices.py`), its latency one of the seed, so that two runs
can be compared turn by turn. It goes wrong by rule (`faults.py`) and remembers every request (`seen.py`). By hand:

    PYTHONPATH=tests python -m servers.scripted --port 8080 --script '{"voice": "guide", "median": 0.2, "sigma": 0.8}'

prints its port and url as one JSON line. `GET /_seen` and `/_counts` tell what it saw, `POST /_reset` forgets it,
`POST /_script` changes its behaviour.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

from aiohttp import web
from servers.completion import digest_of, latency_of
from servers.faults import KINDS, Fault
from servers.script import PREFIXES, Script
from servers.seen import Seen
from servers.service import Service

__all__ = ["KINDS", "Fault", "Script", "ScriptedServer", "Seen", "Service", "digest_of", "latency_of", "serving"]


@asynccontextmanager
async def serving(script: Script = Script(), port: int = 0) -> AsyncIterator[Service]:  # noqa: B008
    """A server in this loop, on a free port. Its `url` ends where a client's base_url does."""
    service = Service(script)
    runner = web.AppRunner(service.app(), access_log=None, handler_cancellation=True, shutdown_timeout=0.05)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", port, backlog=4096)
        await site.start()
        service.url = f"http://127.0.0.1:{runner.addresses[0][1]}{PREFIXES[script.kind]}"
        yield service
    finally:
        await runner.cleanup()


class ScriptedServer:
    """A server in a process of its own. It ends with the block, or when the process that started it dies."""

    def __init__(self, script: Script = Script(), port: int = 0) -> None:  # noqa: B008
        self._script = script
        self._port = port
        self.url = ""

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "servers.scripted", "--with-parent", "--port", str(self._port)]
        self._process = subprocess.Popen(
            [*command, "--script", self._script.as_json()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[1],
        )
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            self.__exit__()
            raise RuntimeError("The scripted server did not start; what it said stands above.")
        self.url = json.loads(line)["url"]
        self._root = self.url.removesuffix(PREFIXES[self._script.kind])
        return self

    def __exit__(self, *exception: object) -> None:
        self._process.kill()
        self._process.communicate()

    @property
    def pid(self) -> int:
        """The process's id, for those who measure it."""
        return self._process.pid

    def seen(self) -> dict[str, Any]:
        """The fields of `Seen`."""
        return self._ask("/_seen")

    def counts(self) -> dict[str, int]:
        """`Seen.numbers`: cheap after many requests."""
        return self._ask("/_counts")

    def reset(self) -> None:
        """Forget what was seen and where the rules of faults were."""
        self._ask("/_reset", b"")

    def use(self, script: Script) -> None:
        """Behave differently from now on."""
        self._ask("/_script", script.as_json().encode())

    def _ask(self, path: str, body: bytes | None = None) -> dict[str, Any]:
        with urllib.request.urlopen(self._root + path, data=body, timeout=30) as response:
            return dict(json.load(response))


async def _serve(script: Script, port: int, with_parent: bool) -> None:
    ended = asyncio.Event()
    if with_parent:
        # The parent holds the other end: whatever ends it, this end becomes readable.
        asyncio.get_running_loop().add_reader(sys.stdin.fileno(), ended.set)
    async with serving(script, port) as service:
        port = int(service.url.split(":")[2].split("/")[0])
        print(json.dumps({"port": port, "url": service.url}), flush=True)
        await ended.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description="A scripted server that speaks OpenAI's protocol on loopback.")
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    parser.add_argument("--script", default="{}", help="the fields of Script as JSON")
    parser.add_argument("--with-parent", action="store_true", help="end when standard input closes")
    arguments = parser.parse_args()
    try:
        asyncio.run(_serve(Script.of(json.loads(arguments.script)), arguments.port, arguments.with_parent))
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
