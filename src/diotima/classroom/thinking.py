"""Tutors that think before they speak: how they are told to, and what came of it.

``allowed``: the tutor's prompt says that it may think, between tags that nobody hears (`dialogue.split_reply`).
``forced``: the prompt says that it must, and the opening tag is put into its mouth, as the end of what it reads; so the
tag itself is neither sampled nor trained on. ``off``: nothing is said of thoughts. A model whose own template makes it
think does so all the same.
"""

from dataclasses import dataclass
from typing import Literal

from diotima.dialogue import THINK_OPEN, TUTOR, Dialogue
from diotima.prompt import Prompt, followed_by, load_prompt
from diotima.score import Score

Thinking = Literal["off", "allowed", "forced"]


def told_to_think(prompt: Prompt, thinking: Thinking) -> Prompt:
    """A tutor's prompt, and after it what it is told of thoughts."""
    return prompt if thinking == "off" else followed_by(prompt, load_prompt(f"tutor/thinking/{thinking}"))


def begins(thinking: Thinking) -> str:
    """What every reply begins with, whether the model would write it or not."""
    return THINK_OPEN if thinking == "forced" else ""


@dataclass(frozen=True, slots=True)
class Thoughts:
    """A scorer of a tutor's thoughts, by which PedagogicalRL's thinking reward is made.

    ``thoughts``: the share of its turns, in 0..1, with a thought in balanced tags. ``unbalanced``: the number of turns
    whose tags are out of balance, or that leave nothing to be heard. An empty thought is none, unlike in the paper.
    """

    async def score(self, dialogue: Dialogue) -> dict[str, Score]:
        """Measure one lesson."""
        turns = dialogue.by(TUTOR)
        if not turns:
            nothing = Score.missing("the tutor never spoke")
            return {"thoughts": nothing, "unbalanced": nothing}
        balanced = sum(bool(turn.thought) and not turn.malformed for turn in turns)
        return {
            "thoughts": Score(balanced / len(turns)),
            "unbalanced": Score(float(sum(turn.malformed for turn in turns))),
        }
