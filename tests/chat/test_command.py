"""`diotima chat`, over a pipe, in a pseudo terminal, and against a server that streams."""

import codecs
import contextlib
import io
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from servers.scripted import Script, ScriptedServer

from diotima.chat import command, session
from diotima.chat.command import Settings, run
from diotima.classroom.roles import Role
from diotima.dialogue import TUTOR, Dialogue, Turn
from diotima.errors import ModelError, PromptError, RunError, SettingsError
from diotima.problems.files import write_problems
from diotima.problems.problem import Problem
from diotima.prompt import load_prompt
from diotima.runs.run import Run
from diotima.sandbox.world import World

QUESTION = "What is 3/4 of 20?"


@pytest.fixture
def type_in(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def lines(*lines: str) -> None:
        monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))

    return lines


@pytest.fixture(scope="module")
def problems(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("problems") / "problems.jsonl"
    write_problems(World().problems(3, 0), path)
    return path


def chat(**settings: Any) -> Path | None:
    return run(Settings(**{"tutor": "scripted/parrot", "problem": QUESTION, **settings}))


def kept(folder: Path) -> Dialogue:
    with Run.open(folder) as record:
        (one,) = record.records()
        return one.dialogue


def texts(dialogue: Dialogue) -> list[str]:
    return [turn.text for turn in dialogue.turns]


def test_over_a_pipe_there_are_plain_lines(
    type_in: Callable[..., None], problems: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    type_in("hello", "/leak", "//twice", "/quit", "unheard")
    assert chat(tutor="scripted/leaker", problems=problems, problem="2") is None
    answer = [*World().problems(3, 0)][1].answer
    captured = capsys.readouterr()
    assert captured.out.splitlines() == [
        f"The answer is {answer}.",
        f'turn 1 gives away the answer (level 3 of 4) in "The answer is {answer}."',
        f"The answer is {answer}.",
    ]
    assert captured.err == ""


def test_the_problem_is_typed_where_none_is_given(
    type_in: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    type_in("", QUESTION, r"it is \frac{1}{2}", "/leak", "/history")
    chat(problem=None)
    assert capsys.readouterr().out.splitlines() == [
        "You wrote: it is 1/2",
        "n/a: the problem has no answer that could be given away",
        "You: it is 1/2",
        "Tutor: You wrote: it is 1/2",
    ]
    type_in()
    with pytest.raises(SettingsError, match="a chat is about a problem: give it with --problem TEXT"):
        chat(problem=None)


def test_plain_shows_formulas_as_they_are(type_in: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    type_in(r"\boxed{5}")
    chat(plain=True)
    assert capsys.readouterr().out == "You wrote: \\boxed{5}\n"


def test_a_problem_in_words_has_steps_where_its_solution_has(type_in: Callable[..., None]) -> None:
    type_in("15")
    chat(tutor="scripted/guide", answer="15", solution="20 / 4 = 5\n5 * 3 = 15")


@pytest.mark.parametrize(
    ("line", "settings", "said"),
    [
        ("/nope", {}, "there is no command /nope; did you mean"),
        ("/undo", {}, "nothing to take back"),
        ("/save", {}, "nothing to save"),
        ("/score", {"judge": ["scripted/yardstick"]}, "the tutor has said nothing yet"),
    ],
)
def test_over_a_pipe_what_goes_wrong_is_raised(
    type_in: Callable[..., None], line: str, settings: dict[str, Any], said: str
) -> None:
    type_in(line)
    with pytest.raises(SettingsError, match=re.escape(said)):
        chat(**settings)


def test_score_needs_a_judge_and_a_rubric_that_judges_what_there_is(type_in: Callable[..., None]) -> None:
    type_in("hi", "/score")
    with pytest.raises(SettingsError, match="name a judge with --judge"):
        chat()
    type_in("hi", "/score socraticlm-overall")
    with pytest.raises(SettingsError, match="compares two turns"):
        chat(judge=["scripted/yardstick"])
    type_in("hi", "/score nothing-like-it")
    with pytest.raises(PromptError, match="there is no rubric nothing-like-it"):
        chat(judge=["scripted/yardstick"])


def test_score_shows_criteria_labels_and_measures(
    type_in: Callable[..., None], problems: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    type_in("I do not know.", "/score")
    chat(tutor="scripted/sweep", problems=problems, problem="1", judge=["scripted/yardstick"])
    lines = capsys.readouterr().out.splitlines()[1:]
    assert lines[0] == "euler, by scripted/yardstick"
    assert {"  questions      yes", "  on_topic       5", "  reveal_answer  no", "score = 1.00"} <= set(lines)


def test_a_verdict_that_is_missing_says_why(type_in: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    type_in("hi", "/score")
    chat(answer="15", judge=["scripted/yardstick"])
    out = capsys.readouterr().out
    assert "no verdict (invalid): the problem has no steps" in out
    assert "score = missing" in out


def test_the_prompt_lacks_what_a_problem_in_words_has_not(
    type_in: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prompt = tmp_path / "prompt.md"
    prompt.write_text("{{question}} {{answer}}")
    type_in()
    settings = {"tutor": "scripted/copier", "tutor_prompt": str(prompt), "tutor_sees": "answer"}
    tutor = Role(TUTOR, None, load_prompt(str(prompt)), sees="answer")  # type: ignore[arg-type]
    assert list(command.lacking(tutor, Problem("p", "q", "5"))) == []
    (told,) = command.lacking(tutor, Problem("p", "q", ""))
    assert "uses the answer, which this problem has not" in told
    assert "--answer TEXT" in told
    with pytest.raises(SettingsError, match="there is no tutor scripted/copier"):
        chat(**settings)


def test_a_conversation_is_kept_and_goes_on(
    type_in: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "chat"
    type_in("one", "two", "/undo")
    assert chat(out=out, answer="15") == out
    assert texts(kept(out)) == ["one", "You wrote: one"]
    assert kept(out).stop == "student ended"
    type_in("three", "/save", f"/save {tmp_path}/copy")
    chat(out=out, problem=None)
    assert texts(kept(out)) == ["one", "You wrote: one", "three", "You wrote: three"]
    assert kept(tmp_path / "copy") == kept(out)
    assert f"Every turn is kept in {out} already." in capsys.readouterr().out.replace("\n", " ")
    type_in("four")
    with pytest.raises(RunError, match="other settings"):
        chat(out=out, tutor="scripted/generic", answer="15")


def test_a_problem_without_an_answer_is_kept_as_such(type_in: Callable[..., None], tmp_path: Path) -> None:
    type_in("one")
    chat(out=tmp_path / "chat")
    assert kept(tmp_path / "chat").problem.answer == ""


class Looking:
    """Notes what the run holds when it is asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.found: list[list[str]] = []

    async def speak(self, dialogue: Dialogue) -> Turn:
        self.found.append(texts(kept(self.folder)))
        return Turn(TUTOR, "Why?")


def test_what_the_student_says_is_stored_before_the_tutor_is_asked(
    type_in: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looking = Looking(tmp_path / "chat")
    monkeypatch.setattr(command, "cast_early", lambda *_: looking)
    type_in("one", "two")
    chat(out=looking.folder, answer="15")
    assert looking.found == [["one"], ["one", "Why?", "two"]]


def test_every_command_is_in_the_help(type_in: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    type_in("/help")
    chat()
    shown = capsys.readouterr().out
    assert all(f"/{name}" in shown and one.about in shown for name, one in session.COMMANDS.items())


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer(Script(kind="vllm", words=12, reasoning="tags", context=400)) as server:
        yield server


def test_a_server_streams_and_its_calls_are_booked(
    type_in: Callable[..., None], server: ScriptedServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    type_in("one", "two")
    chat(tutor=f"vllm/scripted@{server.url}", out=tmp_path / "chat", answer="15", thoughts=True, opens="tutor")
    opening, _, first, _, second = kept(tmp_path / "chat").turns
    out = capsys.readouterr().out
    assert [line for line in out.splitlines() if not line.startswith("(thought: ")] == [
        opening.text, first.text, second.text
    ]  # fmt: skip
    assert f"(thought: {first.thought})" in out
    with Run.open(tmp_path / "chat") as record:
        assert record.ledger.totals().calls == 3
        assert record.labels() == ["vllm/scripted"]
    assert server.url not in out + (tmp_path / "chat" / "manifest.json").read_text()
    assert server.seen()["last"]["stream"] is True


def test_over_a_pipe_a_model_that_fails_is_raised(
    type_in: Callable[..., None], server: ScriptedServer, tmp_path: Path
) -> None:
    type_in("word " * 500)
    with pytest.raises(ModelError, match="maximum context length"):
        chat(tutor=f"vllm/scripted@{server.url}", out=tmp_path / "chat", answer="15")
    assert texts(kept(tmp_path / "chat")) == ["word " * 499 + "word"]


def test_in_a_terminal(tmp_path: Path) -> None:
    code = "from pathlib import Path; from diotima.chat.command import *; "
    code += (
        f"run(Settings(tutor='scripted/parrot', problem='Half of 6?', answer='3', out=Path({str(tmp_path / 'c')!r})))"
    )
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "40", "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    os.close(terminal)
    shown, decoder = "", codecs.getincrementaldecoder("utf-8")()

    def until(pattern: str, seconds: float = 60) -> bool:
        nonlocal shown
        end = time.monotonic() + seconds
        while not re.search(pattern, shown) and time.monotonic() < end:
            if select.select([controller], [], [], 0.1)[0]:
                with contextlib.suppress(OSError):  # the terminal is gone
                    shown += decoder.decode(os.read(controller, 4096))  # a sign may come in two pieces
        return re.search(pattern, shown) is not None

    assert until(r"You: \Z"), shown
    assert "Half of 6?" in shown
    os.write(controller, "one two three four five six seven eight \u202e nine\r".encode())
    assert until(r"(?s)Tutor.*You: \Z"), shown
    spoken = re.sub(r"\x1b\[[0-9;]*m", "", shown.rpartition("Tutor: ")[2]).replace("\r", "")
    assert spoken == "You wrote: one two three four\nfive six seven eight \N{REPLACEMENT CHARACTER} nine\nYou: "
    shown = ""
    os.write(controller, b"\x1b[A")  # the arrow up: what was said before
    assert until("one two three"), shown
    for _ in range(60):  # a signal that comes while readline looks at a key is heard with the next one
        process.send_signal(signal.SIGINT)
        if until(r"(?s)Ctrl-C once more.*You: \Z", 1):
            break
    for _ in range(60):  # and a key that comes while a signal waits to be heard is lost
        os.write(controller, b"\x15\x04")  # Ctrl-U first: readline takes no Ctrl-D for an end just after another
        until(r"(?!)", 0.5)  # it ends when all that it wrote has been read
        if process.poll() is not None:
            break
    assert process.wait(30) == 0
    os.close(controller)
    assert len(kept(tmp_path / "c").turns) == 2
