"""What a test set holds, so that nothing of it is trained on: its contexts, and its word problems."""

from collections.abc import Iterable
from dataclasses import dataclass

from diotima.corpus.contexts import cut
from diotima.corpus.conversations import with_text_seed
from diotima.corpus.repeats import problem_key
from diotima.corpus.sources import open_sources
from diotima.dialogue import Dialogue


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Keys of the contexts (in which the same was said about the same question) and of the word problems held out."""

    contexts: frozenset[int] = frozenset()
    problems: frozenset[int] = frozenset()

    def __contains__(self, context: Dialogue) -> bool:
        question = context.problem.question
        known = bool(question) and problem_key(question) in self.problems
        return known or with_text_seed(context).seed in self.contexts


def held_out(sources: Iterable[str]) -> HeldOut:
    """What stands in these runs and files, which are any that `diotima contexts` reads; of lessons all their contexts.

    Raises ProblemFileError or RunError for what cannot be read.
    """
    contexts, problems = set[int](), set[int]()
    for name in sources:  # one by one, for several may hold sets of one label
        for source in open_sources((name,)):
            for row in source.rows():
                contexts.update(with_text_seed(context).seed for context in cut(row.dialogue, "all", 0))
                if row.dialogue.problem.question:
                    problems.add(problem_key(row.dialogue.problem.question))
    return HeldOut(frozenset(contexts), frozenset(problems))
