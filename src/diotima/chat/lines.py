"""What `/leak` and `/score` tell, in lines: the leak meter's reading of every tutor turn, and what judges say."""

from collections.abc import Iterator, Mapping, Sequence

from diotima.dialogue import TUTOR, Dialogue
from diotima.score import Judgement, Score
from diotima.scoring.leakage import Leak, read_leak

LEVELS: Mapping[Leak, str] = {
    Leak.NONE: "nothing",
    Leak.HINT: "a hint",
    Leak.KEY_STEP: "the result of a step",
    Leak.FINAL_ANSWER: "the answer",
    Leak.WHOLE_SOLUTION: "the whole solution",
}


def leak_lines(dialogue: Dialogue) -> Iterator[str]:
    """What each of the tutor's turns gives away, from level 0 to 4, and the words that do."""
    turns = [position for position, turn in enumerate(dialogue.turns) if turn.speaker == TUTOR]
    if not dialogue.problem.answer:
        yield "n/a: the problem has no answer that could be given away"
    elif not turns:
        yield "The tutor has said nothing yet."
    else:
        for number, position in enumerate(turns, start=1):
            reading = read_leak(dialogue.turns[position].text, dialogue.problem, dialogue.turns[:position])
            words = f' in "{reading.evidence}"' if reading.evidence else ""
            yield f"turn {number} gives away {LEVELS[reading.level]} (level {int(reading.level)} of 4){words}"


def verdict_lines(judgements: Sequence[Judgement], measures: Mapping[str, Score]) -> Iterator[str]:
    """What was said on each criterion and why, for each judge and sample, and the measures that follow from it all."""
    for judgement in judgements:
        if who := _who(judgement, judgements):
            yield f"{who}:"
        width = max(map(len, judgement.labels), default=0)
        for criterion, said in judgement.labels.items():
            yield f"  {criterion:{width}}  {said}"
        if judgement.state != "valid":
            yield f"  no verdict ({judgement.state}): {judgement.reason}"
        elif judgement.reason:
            yield f"  because: {judgement.reason}"
    for name, score in measures.items():
        yield f"{name} = {f'missing ({score.reason})' if score.value is None else f'{score.value:.2f}'}"


def _who(judgement: Judgement, others: Sequence[Judgement]) -> str:
    """What tells a judgement from the others."""
    judge = judgement.judge if len({other.judge for other in others}) > 1 else ""
    sample = f"sample {judgement.sample + 1}" if len({other.sample for other in others}) > 1 else ""
    return ", ".join(part for part in (judge, sample) if part)
