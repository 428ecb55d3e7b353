"""What sets of contexts have in common with themselves and with each other: repetitions and leakage.

A test set that shares contexts, or merely word problems, with the set a tutor is trained on measures memory. Two
contexts are the same if the same was said; two problems, if their questions have the same words. One pass over all
contexts; of each only three numbers are kept.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from diotima.corpus.conversations import conversation_key
from diotima.dialogue import Dialogue, stable_seed

_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Overlap:
    """Rows of the set ``of`` that stand in the set ``also_in`` too.

    ``rows``: all rows of ``of``. ``as_written``: with the very text of the file. ``contexts``: in which the same was
    said. ``problems``: about the same word problem; None where no row of ``of`` has a question.
    """

    of: str
    rows: int
    also_in: str
    as_written: int
    contexts: int
    problems: int | None


@dataclass(slots=True)
class Kind:
    """How often each thing stands in each set: ``counts[key][label]``."""

    counts: defaultdict[int, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    def add(self, key: int, label: str) -> None:
        """Count one row."""
        self.counts[key][label] += 1

    def different(self, label: str) -> int:
        """How many different ones a set holds."""
        return sum(label in where for where in self.counts.values())

    def rows(self, label: str) -> int:
        """How many rows of a set were counted."""
        return sum(where[label] for where in self.counts.values())

    def shared(self) -> Counter[tuple[str, str]]:
        """How many rows of one set stand in another, by (of, also in)."""
        rows: Counter[tuple[str, str]] = Counter()
        for where in self.counts.values():
            for of in where:
                for also_in in where:
                    if of != also_in:
                        rows[of, also_in] += where[of]
        return rows


@dataclass(slots=True)
class Sets:
    """The rows of several sets, counted as they go by."""

    as_written: Kind = field(default_factory=Kind)
    contexts: Kind = field(default_factory=Kind)
    problems: Kind = field(default_factory=Kind)

    def add(self, label: str, written: int, dialogue: Dialogue) -> None:
        """Count one row; ``written`` is the same number for the same text of a file."""
        self.as_written.add(written, label)
        self.contexts.add(conversation_key(dialogue), label)
        if dialogue.problem.question:
            self.problems.add(problem_key(dialogue.problem.question), label)

    def overlaps(self) -> Iterator[Overlap]:
        """Every two sets that have anything in common, from both sides."""
        as_written, contexts, problems = self.as_written.shared(), self.contexts.shared(), self.problems.shared()
        for of, also_in in sorted({*as_written, *contexts, *problems}):
            pair = of, also_in
            about = problems[pair] if self.problems.rows(of) else None
            yield Overlap(of, self.contexts.rows(of), also_in, as_written[pair], contexts[pair], about)


def problem_key(question: str) -> int:
    """The same number for questions with the same words, however they are spaced, written large or punctuated."""
    return stable_seed("problem", *_WORD.findall(question.casefold()))
