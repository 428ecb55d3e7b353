"""A judge: one case and one rubric in, one judgement out, whatever the model behind it says.

The model is asked in the strictest form that it really takes: with the JSON schema of the verdict, else in plain JSON
mode, else by the prompt alone. The first case finds out, the others wait for it, and the judge remembers. What comes
back is read strictly (`verdicts`). An answer that is no verdict is shown to the model together with what is wrong with
it, at most twice, each time as a draw of its own, paid for and booked like any other; a verdict that was read is never
asked for again. What still cannot be read is missing: invalid, refused or error, never a pass and never a fail.
"""

import asyncio
import re
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from diotima.dialogue import Message, stable_seed
from diotima.errors import CallRefused, ModelError
from diotima.models.chat import ChatModel, Reply, Sampling
from diotima.prompt import shipped_prompt
from diotima.score import Judgement, State
from diotima.scoring.case import Case
from diotima.scoring.criteria import OUTCOMES, Labels, describe
from diotima.scoring.rubric import Rubric
from diotima.scoring.transcript import render
from diotima.scoring.verdicts import Said, Unread, read_verdict, schema_of

MOST_ASKS = 3
"""How often a judge is asked about one case, at most."""

_PLAIN_JSON: Mapping[str, Any] = {"type": "object"}  # `Sampling.schema` of plain JSON mode
_ABOUT_FORM = re.compile(r"response_format|schema|json|grammar|structured|unsupported|not supported", re.IGNORECASE)


class Judge(Protocol):
    """Anything that judges a case by a rubric. What it will never be able to judge is no exception but a state."""

    def judge(self, case: Case, rubric: Rubric, sample: int = 0) -> Awaitable[Judgement]:
        """What it says of this case; ``sample`` names one of several draws.

        Raises CallFailed for an answer that could not be had this time, and ModelError where none can.
        """
        ...


async def ask(judges: Iterable[Judge], cases: Iterable[Case], rubric: Rubric, samples: int) -> list[Judgement]:
    """What all judges say of all cases, ``samples`` times each: case by case, judge by judge; asked at the same time.

    Raises the first failure, see `Judge`, but not before all are answered: the others are paid for and booked by then.
    """
    asked = [judge.judge(case, rubric, sample) for case in cases for judge in judges for sample in range(samples)]
    said = await asyncio.gather(*asked, return_exceptions=True)
    judgements = []
    for one in said:
        if isinstance(one, BaseException):
            raise one
        judgements.append(one)
    return judgements


def question(case: Case, rubric: Rubric) -> str:
    """What a model is asked first about a case."""
    return rubric.prompt.fill(transcript=render(case, rubric), form=describe(rubric.criteria))


class ModelJudge:
    """A chat model as a judge. ``name`` is what judgements call it.

    ``temperature`` and ``max_tokens`` replace the rubric's, where they are given.
    """

    def __init__(
        self, model: ChatModel, name: str, temperature: float | None = None, max_tokens: int | None = None
    ) -> None:
        self.model = model
        self.name = name
        self._temperature = temperature
        self._max_tokens = max_tokens
        self._form: int | None = None
        """Which of the forms the model takes, once it is known."""
        self._finding_out = WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock]()
        """In each event loop, for one after the other may ask: who finds that out there."""

    async def judge(self, case: Case, rubric: Rubric, sample: int = 0) -> Judgement:
        """What the model says of this case; a request that its server refuses for good is an error, and data."""
        form = describe(rubric.criteria)
        chat = [Message("user", question(case, rubric))]
        problem = ""
        for ask in range(MOST_ASKS):
            try:
                reply = await self._reply(chat, rubric, self._sampling(case, rubric, sample, ask))
            except CallRefused as error:
                return self._judgement(case, rubric, sample, ask, "error", reason=str(error))
            if reply.finish == "refused":
                return self._judgement(case, rubric, sample, ask, "refused", reason="the judge would not answer")
            read: Said | Unread = Unread("it was cut off")
            if reply.finish != "length":
                read = read_verdict(reply.text, rubric)
            if isinstance(read, Said):
                return self._judgement(case, rubric, sample, ask, "valid", seen_from(case, read.labels), read.reason)
            problem = read.problem
            again = shipped_prompt("judge/again").fill(problem=problem, form=form)
            # Servers refuse an empty message, and then there is nothing to show.
            own = [Message("assistant", reply.text)] if reply.text.strip() else []
            chat = [chat[0], *own, Message("user", again)]
        return self._judgement(case, rubric, sample, MOST_ASKS - 1, "invalid", reason=f"the answer: {problem}")

    def _sampling(self, case: Case, rubric: Rubric, sample: int, ask: int) -> Sampling:
        dialogue = case.dialogue
        return Sampling(
            temperature=rubric.temperature if self._temperature is None else self._temperature,
            max_tokens=self._max_tokens or rubric.max_tokens,
            seed=stable_seed(
                "judge", rubric.name, dialogue.problem.id, dialogue.seed, case.position, sample, ask, case.order
            ),
        )

    async def _reply(self, chat: Sequence[Message], rubric: Rubric, sampling: Sampling) -> Reply:
        forms = (schema_of(rubric), _PLAIN_JSON, None)
        if self._form is None:
            async with self._finding_out.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
                for number, schema in enumerate(forms) if self._form is None else ():
                    try:
                        reply = await self.model.reply(chat, replace(sampling, schema=schema))
                    except ModelError as error:
                        if schema is None or not _is_about_form(error):
                            raise
                    else:
                        self._form = number
                        return reply
        assert self._form is not None
        return await self.model.reply(chat, replace(sampling, schema=forms[self._form]))

    def _judgement(
        self,
        case: Case,
        rubric: Rubric,
        sample: int,
        ask: int,
        state: State,
        labels: Labels | None = None,
        reason: str = "",
    ) -> Judgement:
        return Judgement(
            rubric=rubric.name,
            rubric_fingerprint=rubric.fingerprint,
            judge=self.name,
            position=case.position,
            sample=sample,
            state=state,
            labels=labels or {},
            reason=reason,
            asks=ask + 1,
            order=case.order,
        )


def seen_from(case: Case, labels: Labels) -> Labels:
    """What was said of A and B as what it means for the turn that is judged: a win, a tie, or lost."""
    if not case.order:
        return labels
    swapped = {"A": "B", "B": "A"} if case.order == "second" else {}
    return {name: OUTCOMES[swapped.get(str(said), str(said))] for name, said in labels.items()}


def _is_about_form(error: ModelError) -> bool:
    """Whether a model may answer the same question if it is asked in a looser form."""
    return isinstance(error, CallRefused) or bool(_ABOUT_FORM.search(str(error)))
