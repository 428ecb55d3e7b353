"""Progress without a terminal: one line every ten seconds, on standard error."""

import pytest

from diotima.progress import Progress


def test_one_line_every_ten_seconds_with_the_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    with Progress("grpo", total=100, clock=lambda: now[0]) as progress:
        for _ in range(25):
            now[0] += 1.0
            progress.advance(note="reward 0.5")
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert captured.out == ""
    assert lines[0] == "grpo  10/100  10%  1:30 left  reward 0.5"
    assert len(lines) == 3
    assert lines[-1].startswith("grpo  25/100")


def test_what_an_earlier_process_did_is_not_counted_as_speed(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    with Progress("grpo", total=100, clock=lambda: now[0]) as progress:
        progress.resume(80)
        now[0] = 10.0
        progress.advance(10)
    assert "90/100  90%  0:10 left" in capsys.readouterr().err


def test_short_work_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("short", total=2, clock=lambda: 0.0) as progress:
        progress.advance(2)
    assert capsys.readouterr().err == ""
