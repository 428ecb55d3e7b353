import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from servers.scripted import Script, serving

from diotima.dialogue import STUDENT, TUTOR, Dialogue, Message, Turn, stable_seed
from diotima.errors import CallFailed, CallRefused, ModelError
from diotima.models.calls import Calls
from diotima.models.chat import Reply, Sampling
from diotima.models.endpoint import EndpointModel
from diotima.models.scripted import ScriptedModel, queue_of
from diotima.models.services import EndpointSettings
from diotima.problems.problem import Problem
from diotima.runs.run import Run
from diotima.runs.store import open_for_reading
from diotima.score import Judgement
from diotima.scoring.case import Case, cases_of
from diotima.scoring.judge import ModelJudge
from diotima.scoring.judge import ask as ask_all
from diotima.scoring.rubric import load_rubric
from diotima.scoring.verdicts import schema_of

EULER, LEAK, OVERALL = (load_rubric(name) for name in ("euler", "leak", "socraticlm-overall"))
TALK = Dialogue(Problem("p", "6 x 7?", "42"), (Turn(STUDENT, "Hm."), Turn(TUTOR, "What is 5 x 7?")), seed=3)
CASE = Case(TALK, 1)
VERDICT = {"questions": "yes", "on_topic": 5, "helpful": 4, "reveal_answer": "no"}
GOOD = json.dumps(VERDICT)
FORMS = ["json_schema", "json_object", None]


@dataclass
class Recorder:
    """Answers with what it is given, in turn, and remembers what it was asked."""

    answers: list[Reply | Exception]
    refuse: Callable[[Sampling], Exception | None] = lambda sampling: None
    asked: list[tuple[Sequence[Message], Sampling]] = field(default_factory=list)

    async def reply(self, messages: Sequence[Message], sampling: Sampling) -> Reply:
        self.asked.append((messages, sampling))
        await asyncio.sleep(0)
        if (error := self.refuse(sampling)) is not None:
            raise error
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def forms(self) -> list[str | None]:
        kinds = {None: None, '{"type": "object"}': "json_object"}
        return [kinds.get(s.schema and json.dumps(dict(s.schema)), "json_schema") for _, s in self.asked]


def ask(model: Any, case: Case = CASE, rubric: Any = EULER, sample: int = 0) -> Judgement:
    return asyncio.run(ModelJudge(model, "lab/judge").judge(case, rubric, sample))


def test_a_verdict_becomes_a_judgement() -> None:
    assert ask(ScriptedModel(lambda messages: GOOD), sample=2) == Judgement(
        "euler", EULER.fingerprint, "lab/judge", 1, 2, "valid", VERDICT, "", 1
    )
    told = {"reasoning": "It asks.", "decision": "OK"}
    judged = ask(ScriptedModel(lambda messages: json.dumps(told)), Case(TALK), LEAK)
    assert (judged.position, judged.labels, judged.reason) == (-1, {"decision": "OK"}, "It asks.")


@dataclass
class Slow:
    """A judge that answers when everybody else has been asked, too; ``fails``: on which sample it cannot."""

    name: str
    asked: list[str]
    answered: list[str]
    fails: int = -1

    async def judge(self, case: Case, rubric: Any, sample: int = 0) -> Judgement:
        self.asked.append(self.name)
        for _ in range(3):
            await asyncio.sleep(0)
        assert len(self.asked) == 8
        if sample == self.fails:
            raise CallFailed("not now")
        await asyncio.sleep(0)
        self.answered.append(self.name)
        return Judgement(rubric.name, "f", self.name, case.position, sample, "valid", VERDICT, "", 1)


def test_all_judges_are_asked_at_once_and_heard_in_order() -> None:
    asked: list[str] = []
    judges = [Slow(name, asked, []) for name in ("a", "b")]
    said = asyncio.run(ask_all(judges, [CASE, replace(CASE, position=3)], EULER, 2))
    places = [(one.position, one.judge, one.sample) for one in said]
    assert places == [(position, name, sample) for position in (1, 3) for name in ("a", "b") for sample in (0, 1)]


def test_who_fails_does_not_stop_those_who_are_paid_already() -> None:
    asked: list[str] = []
    judges = [Slow("a", asked, answered := [], fails=0), Slow("b", asked, answered)]
    with pytest.raises(CallFailed, match="not now"):
        asyncio.run(ask_all(judges, [CASE, replace(CASE, position=3)], EULER, 2))
    assert sorted(answered) == ["a"] * 2 + ["b"] * 4


def test_a_judge_that_cannot_be_read_is_shown_its_answer_and_what_is_wrong_with_it() -> None:
    model = Recorder([Reply("I like it."), Reply(""), Reply(GOOD)])
    judged = ask(model)
    assert (judged.state, judged.asks, judged.labels) == ("valid", 3, VERDICT)
    first, second, third = (messages for messages, _ in model.asked)
    assert [message.role for message in first] == ["user"]
    assert [message.role for message in second] == ["user", "assistant", "user"]
    assert second[0] == first[0]
    assert second[1].content == "I like it."
    assert "there is no JSON object in it" in second[2].content
    assert '"questions"' in second[2].content
    assert [message.role for message in third] == ["user", "user"]
    assert "it is empty" in third[1].content
    assert len({sampling.seed for _, sampling in model.asked}) == 3


def test_after_three_answers_that_are_none_the_judgement_is_invalid() -> None:
    model = Recorder([Reply("no"), Reply("no"), Reply("5"), Reply(GOOD)])
    judged = ask(model)
    assert (judged.state, judged.asks, judged.labels, len(model.asked)) == ("invalid", 3, {}, 3)
    assert "there is no JSON object in it" in judged.reason


def test_an_answer_that_was_cut_off_is_none_even_if_it_can_be_read() -> None:
    judged = ask(Recorder([Reply(GOOD, "length")] * 3))
    assert (judged.state, judged.asks) == ("invalid", 3)
    assert "cut off" in judged.reason


def test_a_refusal_is_a_refusal_and_is_not_argued_with() -> None:
    model = Recorder([Reply("not yet"), Reply(GOOD, "refused")])
    judged = ask(model)
    assert (judged.state, judged.asks, judged.labels) == ("refused", 2, {})


def test_a_request_that_is_refused_for_good_is_an_error_and_tells_why() -> None:
    judged = ask(Recorder([Reply("no"), CallRefused("lab/judge: 400: it is too long")]))
    assert (judged.state, judged.asks, judged.reason) == ("error", 2, "lab/judge: 400: it is too long")


def test_a_call_that_may_succeed_another_time_is_no_judgement() -> None:
    with pytest.raises(CallFailed, match="it is broken"):
        ask(Recorder([Reply("no"), CallFailed("lab/judge: 500: it is broken")]))


def test_what_stops_every_call_stops_the_judge() -> None:
    with pytest.raises(ModelError, match="no more replies"):
        ask(queue_of([]))


def test_every_sample_case_and_ask_is_a_draw_of_its_own_and_the_same_in_every_process() -> None:
    def seeds(case: Case, sample: int) -> list[int | None]:
        model = Recorder([Reply("no")] * 3)
        ask(model, case, EULER, sample)
        return [sampling.seed for _, sampling in model.asked]

    drawn = [
        seeds(CASE, 0),
        seeds(CASE, 1),
        seeds(Case(TALK), 0),
        seeds(Case(Dialogue(TALK.problem, TALK.turns, 4), 1), 0),
    ]
    assert len({seed for several in drawn for seed in several}) == 12
    assert seeds(CASE, 0) == drawn[0]
    assert drawn[0][0] == stable_seed("judge", "euler", "p", 3, 1, 0, 0, "")


def test_the_rubric_says_how_to_ask_unless_the_judge_does() -> None:
    model = Recorder([Reply(GOOD), Reply(GOOD)])
    ask(model)
    asyncio.run(ModelJudge(model, "j", temperature=0.0, max_tokens=99).judge(CASE, EULER))
    assert [(sampling.temperature, sampling.max_tokens) for _, sampling in model.asked] == [(0.2, 512), (0.0, 99)]


@pytest.mark.parametrize("said", ["A", "B", "same"])
def test_a_comparison_is_told_from_the_side_of_the_turn_that_is_judged(said: str) -> None:
    cases = cases_of(TALK, OVERALL, other=Turn(TUTOR, "It is 42."))
    answer = json.dumps({"reasoning": "r", "better": said})
    first, second = (ask(ScriptedModel(lambda messages: answer), case, OVERALL) for case in cases)
    assert (first.order, second.order) == ("first", "second")
    assert [first.labels["better"], second.labels["better"]] == {
        "A": ["win", "lost"], "B": ["lost", "win"], "same": ["tie", "tie"]
    }[said]  # fmt: skip


# What a model takes is tried once, from the strictest form on.

UNSUPPORTED = CallRefused("lab/judge: 400: Unsupported parameter: 'response_format'")


def takes_up_to(form: int, error: Exception = UNSUPPORTED) -> Callable[[Sampling], Exception | None]:
    def refuse(sampling: Sampling) -> Exception | None:
        strictness = 2 if sampling.schema is None else 1 if sampling.schema == {"type": "object"} else 0
        return error if strictness < form else None

    return refuse


@pytest.mark.parametrize(
    ("form", "error"),
    [
        (0, UNSUPPORTED),
        (1, UNSUPPORTED),
        (2, UNSUPPORTED),
        (2, CallRefused("lab/judge: 400: something odd")),
        (2, CallFailed("lab/judge: 500: failed to compile the JSON schema (6 attempts)")),
        (2, ModelError("models in this process know no stop texts and no JSON schema")),
    ],
)
def test_the_strictest_form_that_a_model_takes_is_found_once_and_remembered(form: int, error: ModelError) -> None:
    model = Recorder([Reply(GOOD)] * 30, takes_up_to(form, error))
    judge = ModelJudge(model, "lab/judge")

    async def use() -> list[Judgement]:
        many = await asyncio.gather(*(judge.judge(CASE, EULER, sample) for sample in range(10)))
        return [*many, await judge.judge(CASE, EULER, 10)]

    assert [judged.state for judged in asyncio.run(use())] == ["valid"] * 11
    assert model.forms == FORMS[:form] + [FORMS[form]] * 11
    assert all(sampling.schema == schema_of(EULER) for _, sampling in model.asked[:1])


def test_a_case_that_no_form_can_be_had_for_settles_nothing() -> None:
    too_long = CallRefused("lab/judge: 400: maximum context length")
    model = Recorder([Reply(GOOD)] * 2, lambda sampling: too_long if len(model.asked) <= 3 else None)
    judge = ModelJudge(model, "lab/judge")

    async def use() -> list[Judgement]:
        return [await judge.judge(CASE, EULER, sample) for sample in range(3)]

    assert [judged.state for judged in asyncio.run(use())] == ["error", "valid", "valid"]
    assert model.forms == [*FORMS, "json_schema", "json_schema"]


def test_a_failure_that_has_nothing_to_do_with_forms_is_no_reason_to_try_others() -> None:
    model = Recorder([CallFailed("lab/judge: no answer (6 attempts)")])
    with pytest.raises(CallFailed, match="no answer"):
        ask(model)
    assert model.forms == ["json_schema"]


# Behind a real protocol, with books.


def judged_by_a_server(script: Script, folder: Path) -> tuple[list[Judgement], list[tuple[str, str | None]]]:
    """What a server's judge says of three cases, and the books: every attempt's state and form."""
    calls = Calls(EndpointSettings(), lambda sentence: None)

    async def within() -> list[Judgement]:
        async with serving(script) as server:
            line = await asyncio.to_thread(calls.line, f"lab/m@{server.url}")
            judge = ModelJudge(EndpointModel(calls, line), "lab/m")
            work = asyncio.gather(*(judge.judge(CASE, EULER, sample) for sample in range(3)))
            return list(await calls._conducted(asyncio.wait_for(work, 30)))

    with Run.create(folder, stage="score", settings={}, seed=0) as record:
        calls.keep_books_in(record)
        judgements = asyncio.run(within())
    db = open_for_reading(folder)
    rows = db.execute("SELECT state, parameters FROM calls ORDER BY id").fetchall()
    db.close()
    return judgements, [(state, json.loads(told).get("response_format", {}).get("type")) for state, told in rows]


def test_a_server_with_schemas_gives_verdicts_at_once(tmp_path: Path) -> None:
    judgements, books = judged_by_a_server(Script(models=("m",)), tmp_path / "run")
    assert [(judged.state, judged.asks) for judged in judgements] == [("valid", 1)] * 3
    assert books == [("answered", "json_schema")] * 3


@pytest.mark.parametrize(("refused", "form"), [(("json_schema",), "json_object"), (("response_format",), None)])
def test_every_ask_of_a_server_is_booked(refused: tuple[str, ...], form: str | None, tmp_path: Path) -> None:
    """Without schemas this server talks nonsense, so that every case is asked about three times."""
    judgements, books = judged_by_a_server(Script(models=("m",), refuse=refused), tmp_path / "run")
    assert [(judged.state, judged.asks) for judged in judgements] == [("invalid", 3)] * 3
    tried = [("failed", kind) for kind in FORMS[: FORMS.index(form)]]
    assert books == tried + [("answered", form)] * 9


def test_one_event_loop_after_the_other_may_ask_a_judge_whose_form_is_not_known_yet() -> None:
    judge = ModelJudge(Recorder([], refuse=lambda sampling: CallRefused("too long")), "lab/judge")

    async def three() -> list[Judgement]:
        return list(await asyncio.gather(*(judge.judge(CASE, EULER, sample) for sample in range(3))))

    for _ in range(2):
        assert {judgement.state for judgement in asyncio.run(three())} == {"error"}
