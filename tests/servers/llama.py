"""A real model server for tests run by hand: llama.cpp's `llama-server` with the tiny tutor.

It is built from the sources that `llama-cpp-python` carries, because they are had wherever Python packages are; that
takes ten minutes of a processor, once: program and model are kept outside the clone, in $XDG_CACHE_HOME/diotima
(~/.cache/diotima). By hand, on a port of one's choice:

    PYTHONPATH=src:tests python -m servers.llama --port 8080
"""

import argparse
import fcntl
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from diotima.delivery.llama_cpp import stop
from diotima.models.folders import TINY

VERSION = "0.3.36"
"""Of llama-cpp-python, whose sources hold those of llama.cpp."""
SHA256 = "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e"
CONFIGURATION = {
    "CMAKE_BUILD_TYPE": "Release",
    "BUILD_SHARED_LIBS": "OFF",
    "LLAMA_USE_PREBUILT_UI": "OFF",
    "LLAMA_OPENSSL": "OFF",
    "LLAMA_BUILD_TESTS": "OFF",
    "LLAMA_BUILD_EXAMPLES": "OFF",
}
PROGRAMS = ("llama-server", "llama-quantize")
START_SECONDS = 60
OTHER_SERVER = "DIOTIMA_TEST_SERVER"
"""The environment variable with the URL of a server that tests ask instead; it serves the tiny tutor as ``tiny``."""
_LISTENING = re.compile(r"listening on (http://\S+)")


@dataclass(frozen=True, slots=True)
class LlamaServer:
    """One that runs; ``url`` ends with /v1."""

    url: str
    pid: int


@contextmanager
def real_server(log: Path) -> Iterator[str]:
    """The URL of the server that tests ask: llama-server, or the one that is named in the environment."""
    if url := os.environ.get(OTHER_SERVER):
        yield url
    else:
        with llama_server(log) as server:
            yield server.url


@contextmanager
def llama_server(
    log: Path, *, slots: int = 64, context: int = 1024, threads: int = 1, port: int = 0, flags: Sequence[str] = ()
) -> Iterator[LlamaServer]:
    """The tiny tutor behind llama-server, as ``tiny``, from when it answers to the end of the block.

    ``log``: a file for what it says. ``context``: tokens of each slot. ``port`` 0: a free one. ``flags``: more of
    llama-server's own.
    Builds what is missing. Raises RuntimeError, with the end of the log, if it does not start.
    """
    command = [str(program()), "-m", str(tiny_gguf()), "--alias", "tiny", "--jinja", "--port", str(port)]
    command += ["-np", str(slots), "-c", str(slots * context), "-t", str(threads), *flags]
    with log.open("wb") as said:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT)
    try:
        yield LlamaServer(f"{_wait_until_healthy(process, log)}/v1", process.pid)
    finally:
        stop(process)


def _wait_until_healthy(process: "subprocess.Popen[bytes]", log: Path) -> str:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        if listening := _LISTENING.search(log.read_text(errors="replace")):
            with suppress(OSError), urllib.request.urlopen(f"{listening[1]}/health", timeout=5):
                return listening[1]
        time.sleep(0.05)
    raise RuntimeError(f"llama-server did not start; {_end_of(log)}")


def program() -> Path:
    """The server's program, built if it is not there yet."""
    return _kept(f"llama-server-{VERSION}", _build) / "llama-server"


def tiny_gguf() -> Path:
    """The tiny tutor as GGUF, converted if it is not there yet or the tutor has changed since."""
    weights = hashlib.sha256()
    for path in sorted(TINY.iterdir()):
        weights.update(path.read_bytes())
    return _kept(f"tiny-{weights.hexdigest()[:12]}-{VERSION}", _convert) / "tiny.gguf"


def _kept(name: str, make: Callable[[Path], None]) -> Path:
    """The folder of that name in the cache; ``make`` fills it, once, whoever else wants it at the same moment."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "diotima"
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / name
    with (cache / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            with tempfile.TemporaryDirectory(dir=cache, prefix=f"{name}.", ignore_cleanup_errors=True) as unfinished:
                whole = Path(unfinished) / "whole"
                whole.mkdir()
                make(whole)
                whole.rename(folder)
    return folder


def _build(folder: Path) -> None:
    print(f"Building llama-server {VERSION} (once; about ten minutes of a processor) ...", file=sys.stderr)
    work, log = folder.parent, folder.parents[1] / "llama-server-build.log"
    log.unlink(missing_ok=True)
    sources = _sources(work, log)
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), str(Path(sys.executable).parent)])
    if not (shutil.which("cmake", path=path) and shutil.which("ninja", path=path)):
        _run([sys.executable, "-m", "venv", str(work / "tools")], log)
        _run([str(work / "tools/bin/pip"), "install", "--quiet", "cmake", "ninja"], log)
        path = os.pathsep.join([str(work / "tools/bin"), path])
    environment = {**os.environ, "PATH": path}
    options = [f"-D{name}={value}" for name, value in CONFIGURATION.items()]
    _run(["cmake", "-G", "Ninja", "-S", str(sources), "-B", str(work / "build"), *options], log, environment)
    _run(["cmake", "--build", str(work / "build"), "--target", *PROGRAMS], log, environment)
    for name in PROGRAMS:
        (work / "build/bin" / name).rename(folder / name)
    (sources / "conversion").rename(folder / "conversion")
    (sources / "gguf-py/gguf").rename(folder / "gguf")


def _sources(work: Path, log: Path) -> Path:
    name = "llama-cpp-python"
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", name, "--dest", str(work)]
    _run([*pip, f"{name}=={VERSION}"], log)
    archive = work / f"llama_cpp_python-{VERSION}.tar.gz"
    if hashlib.sha256(archive.read_bytes()).hexdigest() != SHA256:
        raise RuntimeError(f"{archive.name} is not the file that this was written for: its SHA-256 differs")
    with tarfile.open(archive) as packed:
        packed.extractall(work, filter="data")
    return work / f"llama_cpp_python-{VERSION}" / "vendor" / "llama.cpp"


def _convert(folder: Path) -> None:
    search = [str(Path(__file__).parents[1]), str(program().parent)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(search), "HF_HUB_OFFLINE": "1"}
    log = folder.parents[1] / "llama-server-convert.log"
    log.unlink(missing_ok=True)
    _run([sys.executable, "-m", "servers.gguf", str(TINY), str(folder / "tiny.gguf")], log, environment)


def _run(command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> None:
    with log.open("ab") as said:
        code = subprocess.run(command, stdout=said, stderr=subprocess.STDOUT, env=environment).returncode
    if code:
        raise RuntimeError(f"`{' '.join(command[:4])} ...` failed; {_end_of(log)}")


def _end_of(log: Path) -> str:
    return f"the end of {log}:\n" + "\n".join(log.read_text(errors="replace").splitlines()[-20:])


def main() -> None:
    parser = argparse.ArgumentParser(description="llama-server with the tiny tutor, until it is interrupted.")
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    parser.add_argument("--slots", type=int, default=64, help="requests answered at the same moment")
    parser.add_argument("--context", type=int, default=1024, help="tokens of each slot")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # else the server would outlive this program
    with tempfile.TemporaryDirectory() as folder, suppress(KeyboardInterrupt):
        log = Path(folder) / "log"
        with llama_server(
            log, slots=arguments.slots, context=arguments.context, threads=arguments.threads, port=arguments.port
        ) as server:
            print(server.url, flush=True)
            while True:
                time.sleep(3600)


if __name__ == "__main__":
    main()
