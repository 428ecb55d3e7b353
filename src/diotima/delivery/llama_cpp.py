"""llama.cpp on this machine: its converter, `llama-quantize` and `llama-server`, found and run.

It is not ours to install. It is looked for in the folder that the user names (a checkout, built or not), then among
what was built for this project before (``$XDG_CACHE_HOME/diotima/llama-server-*``), and its programs also on PATH.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.request import ProxyHandler, build_opener

from diotima.errors import ModelError
from diotima.progress import Progress

START_SECONDS = 120.0
_SLOW_DISK = 50e6  # bytes a second; a server reads its file before it answers
_SOURCES = "clone https://github.com/ggml-org/llama.cpp and give its folder: --llama-cpp FOLDER"
_ERROR = re.compile(r"[\d.]+ E (.+)")  # as llama.cpp's programs mark it
_BAR = "%|"  # in the lines of a bar that shows how far a program is
_BUILD = "cmake -B build && cmake --build build --target"


@dataclass(frozen=True, slots=True)
class LlamaCpp:
    """Where to look. ``folder``: what the user named, if anything."""

    folder: Path | None = None

    def converter(self) -> tuple[Path, ...]:
        """What has to be on PYTHONPATH for `delivery.convert`. Raises ModelError with how to get it."""
        for place in self._places():
            packages = next((path for path in (place / "gguf-py", place) if (path / "gguf").is_dir()), None)
            if packages is not None and (place / "conversion").is_dir():
                return (place, packages)
        if self.folder is not None:
            raise ModelError(
                f"llama_cpp = {self.folder}: there are no conversion/ and gguf-py/ in it; give a checkout of llama.cpp "
                "of 2026 or later"
            )
        raise ModelError(f"llama.cpp's converter is not on this machine; {_SOURCES}")

    def program(self, name: str) -> Path:
        """One of its programs, such as llama-server. Raises ModelError with how to get it."""
        for place in self._places():
            for path in (place / "build" / "bin" / name, place / "bin" / name, place / name):
                if path.is_file() and os.access(path, os.X_OK):
                    return path
        if self.folder is None and (found := shutil.which(name)):
            return Path(found)
        where = "on this machine" if self.folder is None else f"in {self.folder}"
        raise ModelError(f"there is no {name} {where}; {_SOURCES}, after building it there: {_BUILD} {name}")

    def _places(self) -> list[Path]:
        if self.folder is not None:
            return [self.folder]
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "diotima"
        return sorted(cache.glob("llama-server-*/"), key=_version, reverse=True)


def converted(found: LlamaCpp, folder: Path, out: Path, kind: str, size: int) -> None:
    """Write a model folder as GGUF. ``kind``: f32, f16, bf16 or q8_0; ``size``: bytes to expect, for those who wait.

    Raises ModelError with the converter's last words.
    """
    python_path = [*map(str, found.converter()), str(Path(__file__).parents[2])]
    command = [sys.executable, "-m", "diotima.delivery.convert", str(folder), str(out), kind]
    environment = {"PYTHONPATH": os.pathsep.join(python_path), "HF_HUB_OFFLINE": "1"}
    _run(command, out, size, f"llama.cpp's converter cannot convert {folder}", environment)


def quantized(found: LlamaCpp, source: Path, out: Path, kind: str, size: int) -> None:
    """Write a GGUF file in fewer bits, by llama-quantize. Raises ModelError with its last words."""
    command = [str(found.program("llama-quantize")), str(source), str(out), kind.upper()]
    _run(command, out, size, f"llama-quantize cannot make {kind}", {})


def _run(command: Sequence[str], out: Path, size: int, failure: str, environment: Mapping[str, str]) -> None:
    """Run a program that writes ``out``, showing how far it is."""
    with tempfile.TemporaryFile() as said, Progress(out.name.removesuffix(".part"), size) as progress:
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT, env={**os.environ, **environment})
        try:
            while process.poll() is None:
                time.sleep(0.1)
                written = out.stat().st_size if out.exists() else 0
                progress.advance(min(written, size) - progress.done)
        finally:
            stop(process)
        words = _words(said)
    if process.returncode or not _is_gguf(out):
        out.unlink(missing_ok=True)
        raise ModelError(f"{failure}: {words or f'it ended with {process.returncode}'}")


@contextmanager
def served(found: LlamaCpp, gguf: Path, context: int) -> Iterator[str]:
    """The address of a llama-server with this file, from when it answers to the end of the block; one chat at a time.

    ``context``: tokens it can read and write. Raises ModelError with its first error if it does not start.
    """
    if not _is_gguf(gguf):
        raise ModelError(f"{gguf} is no GGUF file; make one with: diotima export gguf MODEL --out {gguf}")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [str(found.program("llama-server")), "-m", str(gguf), "--jinja", "-np", "1", "-c", str(context)]
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            if not _answers(process, f"{url}/health", START_SECONDS + gguf.stat().st_size / _SLOW_DISK):
                raise ModelError(f"llama-server does not start with {gguf}: {_words(said) or 'it says nothing'}")
            yield url
        finally:
            stop(process)


def _words(said: IO[bytes]) -> str:
    """Why a program failed: the first line in which its log has an error, else its last line."""
    said.seek(0)
    lines = [line.strip() for line in said.read().decode(errors="replace").splitlines()]
    lines = [line for line in lines if line and _BAR not in line]
    errors = [found[1] for line in lines if (found := _ERROR.match(line))]
    return (errors or lines or [""])[0 if errors else -1][:300]


def _answers(process: "subprocess.Popen[bytes]", page: str, seconds: float) -> bool:
    opener, deadline = build_opener(ProxyHandler({})), time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with opener.open(page, timeout=5):
                return True
        except OSError:  # it is still loading
            time.sleep(0.05)
    return False


def stop(process: "subprocess.Popen[bytes]") -> None:
    """End a server, by force if it does not end by itself."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _is_gguf(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) == b"GGUF"


def _version(path: Path) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", path.name)]
