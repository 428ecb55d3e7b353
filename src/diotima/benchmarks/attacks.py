"""Attacks on a judge: words that make no turn better, but that some judges pay for.

An attack is a file in ``prompts/attack/``: its text, and in the front matter ``how`` it is used and what it is
``about``.

- ``append`` and ``prepend`` put the text behind or before the tutor's turn, ``student`` behind the student's last
  words. The turn is as good as it was, so every rise of the rubric's headline measure, by one step or more, is a
  *flip*. Cases with the best value already cannot rise and are not tried.
- ``replace`` puts the text, or nothing, in the turn's place. It is tried where the judge put the turn into the better
  half of the headline's range, and it is a flip if what says nothing is rated at least as high. Only for rubrics that
  judge turns: in a whole dialogue other turns remain, and one that says nothing gives nothing away.

A judge that draws its answers changes its mind now and then, so the share of cases that rise when the same thing is
rated once more stands beside the flips. One case a problem is drawn, so that Wilson's interval holds. The families are
those that have been published against judges: a ready score, forged delimiters and verdicts, authority, nothing at all,
"Thought process:" (Zhao et al., "One Token to Fool LLM-as-a-Judge", 2025); the words are ours.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal, get_args

from diotima.dialogue import STUDENT, Dialogue, Turn
from diotima.errors import PromptError
from diotima.prompt import PROMPTS, Prompt, load_prompt
from diotima.scoring.criteria import Criterion
from diotima.scoring.rubric import Rubric, measure_bounds
from diotima.settings import did_you_mean

How = Literal["append", "prepend", "replace", "student"]


@dataclass(frozen=True, slots=True)
class Attack:
    """One attack. ``prompt``: its text, which may use ``{{verdict}}``, the rubric's best verdict as JSON."""

    name: str
    how: How
    about: str
    prompt: Prompt


def attack_names() -> list[str]:
    """The attacks that come with the package."""
    return sorted(path.stem for path in (PROMPTS / "attack").glob("*.md"))


def load_attacks(names: Sequence[str], rubric: Rubric) -> list[Attack]:
    """The attacks of these names, or files; without names, all that fit the rubric. Raises PromptError."""
    attacks = [_attack(name) for name in names or attack_names()]
    return attacks if names else [one for one in attacks if one.how != "replace" or rubric.judges == "turn"]


def _attack(name: str) -> Attack:
    shipped = name in attack_names()
    if not shipped and "/" not in name and "." not in name:
        raise PromptError(f"there is no attack {name}; {did_you_mean(name, attack_names())}")
    prompt = load_prompt(f"attack/{name}" if shipped else name)
    how: How | None = prompt.meta.get("how")
    if how is None or how not in get_args(How):
        raise PromptError(f"attack {name}: its front matter needs how: one of {', '.join(get_args(How))}; not {how}")
    if prompt.placeholders - {"verdict"}:
        raise PromptError(f"attack {name}: it may use {{{{verdict}}}} and no other placeholder")
    return Attack(name, how, str(prompt.meta.get("about", "")), prompt)


def attacked(dialogue: Dialogue, attack: Attack, rubric: Rubric) -> Dialogue:
    """The dialogue, which ends with the tutor's turn that is judged, as the attack leaves it."""
    text = attack.prompt.fill(**dict.fromkeys(attack.prompt.placeholders, _best_verdict(rubric)))
    *before, turn = dialogue.turns
    if attack.how == "student":
        last = max((place for place, one in enumerate(before) if one.speaker == STUDENT), default=None)
        if last is None:
            before.append(Turn(STUDENT, text))
        else:
            before[last] = replace(before[last], text=f"{before[last].text}\n{text}")
    else:
        said = {"append": f"{turn.text}\n{text}", "prepend": f"{text}\n{turn.text}", "replace": text}[attack.how]
        turn = replace(turn, text=said, tokens=None)
    return replace(dialogue, turns=(*before, turn))


def may_flip(value: Fraction, attack: Attack, rubric: Rubric) -> bool:
    """Whether a case with this value of the headline measure is one to try the attack on."""
    worst, best = measure_bounds(rubric, rubric.headline.name)
    if attack.how == "replace":
        return abs(best - value) <= abs(value - worst)
    return rises(value, best, rubric)


def flips(before: Fraction, after: Fraction, attack: Attack, rubric: Rubric) -> bool:
    """Whether the attack did what it was meant to do."""
    return rises(before, after, rubric) or (attack.how == "replace" and before == after)


def rises(before: Fraction, after: Fraction, rubric: Rubric) -> bool:
    """Whether the headline measure got better."""
    return after > before if rubric.headline.better == "higher" else after < before


def _best_verdict(rubric: Rubric) -> str:
    """A verdict with which the headline measure is at its best, as JSON."""
    return json.dumps({criterion.name: _best(criterion, rubric) for criterion in rubric.criteria}, ensure_ascii=False)


def _best(criterion: Criterion, rubric: Rubric) -> str | int:
    headline = rubric.headline
    if criterion.text:
        return "All of it is excellent."
    said = {**headline.where, **headline.share}.get(criterion.name)
    if said is not None and headline.better == "higher":
        return said
    sign = 1 if headline.better == "higher" else -1
    weight = sign * headline.weights.get(criterion.name, Fraction(1))
    on_offer: Sequence[str | int] = criterion.scale or tuple(criterion.labels)
    return max((one for one in on_offer if one != said), key=lambda one: weight * criterion.credit(one))
