import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from diotima.classroom.lesson import Classroom, Limits, side_by_side, who_opens
from diotima.dialogue import STUDENT, TUTOR, Dialogue, Tokens, Turn
from diotima.errors import CallFailed, CallRefused
from diotima.problems.problem import Problem

PROBLEM = Problem("p", "How many?", "5")


class Speaker:
    """Says the same thing again and again, and ends with its last turn."""

    def __init__(self, name: str, text: str = "so so", last: int | None = None, tokens: Tokens | None = None) -> None:
        self.name = name
        self.text = text
        self.last = last
        self.tokens = tokens

    async def speak(self, dialogue: Dialogue) -> Turn:
        ends = self.last is not None and len(dialogue.by(self.name)) + 1 >= self.last
        return Turn(self.name, self.text, ends=ends, tokens=self.tokens)


def teach(tutor: Speaker | None = None, student: Speaker | None = None, **rest: object) -> Dialogue:
    classroom = Classroom(tutor or Speaker(TUTOR), student or Speaker(STUDENT), **rest)  # type: ignore[arg-type]
    return asyncio.run(classroom.teach(PROBLEM, 7))


def speakers(dialogue: Dialogue) -> str:
    return "".join(turn.speaker[0] for turn in dialogue.turns)


def test_who_opens() -> None:
    assert speakers(teach(limits=Limits(2))) == "ststs"
    assert speakers(teach(limits=Limits(2), opens=TUTOR)) == "tsts"


def test_each_problem_has_one_who_opens_and_half_of_them_the_tutor() -> None:
    problems = [Problem(f"p{number}", "How many?", "5") for number in range(400)]
    drawn = [who_opens("both", problem) for problem in problems]
    assert drawn == [who_opens("both", problem) for problem in problems]
    assert 150 < drawn.count(TUTOR) < 250
    for opens in (TUTOR, STUDENT):
        classroom = Classroom(Speaker(TUTOR), Speaker(STUDENT), Limits(1), "both")
        problem = problems[drawn.index(opens)]
        assert {asyncio.run(classroom.teach(problem, seed)).turns[0].speaker for seed in range(5)} == {opens}


def test_the_lesson_keeps_its_problem_and_seed() -> None:
    dialogue = teach(limits=Limits(1))
    assert (dialogue.problem, dialogue.seed) == (PROBLEM, 7)


@pytest.mark.parametrize(
    ("dialogue", "stop", "said"),
    [
        (teach(tutor=Speaker(TUTOR, last=2)), "tutor ended", "stst"),
        (teach(student=Speaker(STUDENT, last=3)), "student ended", "ststs"),
        (teach(student=Speaker(STUDENT, last=1)), "student ended", "s"),
        (teach(limits=Limits(1)), "turn limit", "sts"),
        (teach(limits=Limits(words=6)), "length limit", "sts"),
        (teach(limits=Limits(words=7)), "length limit", "stst"),
        (
            teach(tutor=Speaker(TUTOR, tokens=Tokens((1,) * 8, (2,), (0.0,))), limits=Limits(tokens=9)),
            "token limit",
            "st",
        ),
        (
            teach(tutor=Speaker(TUTOR, tokens=Tokens((1,) * 8, (2,), (0.0,))), limits=Limits(2, 10)),
            "turn limit",
            "ststs",
        ),
        (teach(limits=Limits(2, tokens=1)), "turn limit", "ststs"),  # no model here that counts tokens
        (teach(tutor=Speaker(TUTOR, last=1), limits=Limits(1, words=1)), "length limit", "s"),
        (teach(tutor=Speaker(TUTOR, last=2), limits=Limits(2)), "tutor ended", "stst"),
    ],
)
def test_why_a_lesson_ends(dialogue: Dialogue, stop: str, said: str) -> None:
    assert (dialogue.stop, speakers(dialogue)) == (stop, said)


def test_the_student_has_the_last_word_at_the_turn_limit() -> None:
    for opens in (TUTOR, STUDENT):
        dialogue = teach(limits=Limits(3), opens=opens)
        assert len(dialogue.by(TUTOR)) == 3
        assert dialogue.turns[-1].speaker == STUDENT


class Work:
    """Counts how many pieces run at once; fails at one of them."""

    def __init__(self, fails_at: int | None = None) -> None:
        self.running = self.most = 0
        self.finished: list[int] = []
        self.cancelled: list[int] = []
        self.fails_at = fails_at

    async def __call__(self, item: int) -> int:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            for _ in range(1 + item % 3):
                await asyncio.sleep(0)
            if item == self.fails_at:
                raise RuntimeError(f"item {item}")
            self.finished.append(item)
            return item
        except asyncio.CancelledError:
            self.cancelled.append(item)
            raise
        finally:
            self.running -= 1


async def collect(results: AsyncIterator[int]) -> list[int]:
    return [result async for result in results]


@pytest.mark.parametrize("at_once", [1, 4, 100])
def test_all_items_once_and_never_too_many_at_a_time(at_once: int) -> None:
    work = Work()
    assert sorted(asyncio.run(collect(side_by_side(work, range(50), at_once)))) == list(range(50))
    assert work.most == min(at_once, 50)


def test_nothing_to_do() -> None:
    assert asyncio.run(collect(side_by_side(Work(), []))) == []


def test_a_slow_item_holds_up_nobody() -> None:
    async def work(item: int) -> int:
        for _ in range(1000 if item == 0 else 1):
            await asyncio.sleep(0)
        return item

    assert asyncio.run(collect(side_by_side(work, range(20), 4)))[-1] == 0


def test_items_are_drawn_only_when_there_is_room() -> None:
    drawn: list[int] = []

    def items() -> Iterator[int]:
        for item in range(10_000):
            drawn.append(item)
            yield item

    async def look() -> None:
        seen = 0
        async for _ in side_by_side(Work(), items(), 8):
            seen += 1
            assert len(drawn) <= seen + 16  # those that run, and finished ones that have not been taken yet
            if seen == 100:
                break

    asyncio.run(look())
    assert len(drawn) < 120


def test_an_error_comes_through_and_cancels_the_rest() -> None:
    work = Work(fails_at=4)

    async def look() -> int:
        with pytest.raises(RuntimeError, match="item 4"):
            await collect(side_by_side(work, range(1000), 6))
        return len(asyncio.all_tasks())

    assert asyncio.run(look()) == 1  # nothing runs on
    assert work.running == 0
    assert work.cancelled
    assert len(work.finished) < 20


def test_two_errors_at_the_same_moment_leave_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    async def work(item: int) -> int:
        raise RuntimeError(f"item {item}")

    with pytest.raises(RuntimeError):
        asyncio.run(collect(side_by_side(work, range(9), 3)))
    import gc

    gc.collect()
    assert "never retrieved" not in caplog.text


class Refused(Speaker):
    """Cannot go on after so many turns."""

    def __init__(self, name: str, turns: int, error: type[CallFailed] = CallRefused) -> None:
        super().__init__(name)
        self.turns = turns
        self.error = error

    async def speak(self, dialogue: Dialogue) -> Turn:
        if len(dialogue.by(self.name)) >= self.turns:
            raise self.error("vllm/m: 400: the context is too long")
        return await super().speak(dialogue)


def test_a_chat_that_became_too_long_ends_the_lesson_and_is_kept() -> None:
    dialogue = teach(tutor=Refused(TUTOR, 2))
    assert speakers(dialogue) == "ststs"
    assert dialogue.stop == "tutor could not go on: vllm/m: 400: the context is too long"


def test_who_could_never_speak_or_only_failed_this_time_loses_the_lesson() -> None:
    with pytest.raises(CallRefused):
        teach(tutor=Refused(TUTOR, 0))
    with pytest.raises(CallFailed):
        teach(student=Refused(STUDENT, 2, CallFailed))
