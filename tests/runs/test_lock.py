"""Who writes a folder, as others see it."""

import fcntl
import os
import threading
from pathlib import Path

import pytest

from diotima.errors import RunError
from diotima.runs.lock import FILE, WriterLock, writer_of


def test_the_writer_is_named_while_it_writes(tmp_path: Path) -> None:
    assert writer_of(tmp_path / "none") is None
    assert writer_of(tmp_path) is None
    with WriterLock(tmp_path):
        assert str(writer_of(tmp_path)).startswith(f"process {os.getpid()} on ")
        with pytest.raises(RunError, match=f"is being written by process {os.getpid()} on "):
            WriterLock(tmp_path)
    assert writer_of(tmp_path) is None


def test_a_dead_writers_name_is_not_taken_for_a_writer(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("process 1 on elsewhere\n")
    assert writer_of(tmp_path) is None
    with WriterLock(tmp_path):
        assert "elsewhere" not in str(writer_of(tmp_path))


def test_a_look_keeps_no_writer_away(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("process 1 on elsewhere\n")
    look = os.open(tmp_path / FILE, os.O_RDONLY)
    fcntl.flock(look, fcntl.LOCK_SH)
    assert writer_of(tmp_path) is None  # nor another look
    end = threading.Timer(0.01, os.close, [look])
    end.start()
    WriterLock(tmp_path).release()
    end.join()
