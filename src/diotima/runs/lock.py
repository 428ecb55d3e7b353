"""One writer for a folder. The operating system holds the lock, the file says who has it.

A lock that the kernel drops when its process dies cannot go stale: whatever a dead process left in the file is
overwritten. The name in it is for people only.

Whether a name in the file is that of a dead process only the lock itself can tell. A look shares it for a moment, which
other looks may do too; a writer who meets one tries again.
"""

import errno
import fcntl
import os
import socket
import time
from pathlib import Path
from typing import Self

from diotima.errors import RunError

FILE = "writer.lock"
_LOOK = 0.05  # seconds, far more than a look takes


class WriterLock:
    """The right to write in a folder, held until `release` or the end of the process; a context manager.

    Raises RunError, naming the process and host of the other writer, if the folder is being written already.
    """

    def __init__(self, folder: Path, file: str = FILE) -> None:
        path = folder / file
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            _take(self._descriptor)
        except OSError as error:
            holder = os.read(self._descriptor, 200).decode(errors="replace").strip()
            os.close(self._descriptor)
            if error.errno in (errno.EAGAIN, errno.EACCES):
                raise RunError(
                    f"{folder} is being written by {holder or 'another process'}: wait for it, or choose another folder"
                ) from None
            raise RunError(f"{folder}: its file system cannot lock files ({error.strerror}): choose another") from None
        os.ftruncate(self._descriptor, 0)
        os.write(self._descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode())

    def release(self) -> None:
        """Let others write; the empty file stays, since removing it would race with the next writer."""
        os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def writer_of(folder: Path, file: str = FILE) -> str | None:
    """Who writes in a folder now, as ``process 12 on host``; None if nobody does, or there is no such folder."""
    try:
        descriptor = os.open(folder / file, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        holder = os.read(descriptor, 200).decode(errors="replace").strip()
        if not holder:
            return None
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return holder if error.errno in (errno.EAGAIN, errno.EACCES) else None
    finally:
        os.close(descriptor)
    return None


def _take(descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        time.sleep(_LOOK)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
