"""Teach a language model to teach, and prove that it does.

The nouns are exported here and loaded on first use, so that ``import diotima`` costs nothing; the verbs are the
folders. Every command of the command line is a module with ``Settings`` and ``run(settings) -> Path``.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from diotima.dialogue import Dialogue, Message, Tokens, Turn
    from diotima.problems.problem import Problem, Step
    from diotima.runs.run import Run
    from diotima.score import Score

__version__ = "0.1.0"
__all__ = ["Dialogue", "Message", "Problem", "Run", "Score", "Step", "Tokens", "Turn", "__version__"]

_HOMES = {
    "Dialogue": "diotima.dialogue",
    "Message": "diotima.dialogue",
    "Problem": "diotima.problems.problem",
    "Run": "diotima.runs.run",
    "Score": "diotima.score",
    "Step": "diotima.problems.problem",
    "Tokens": "diotima.dialogue",
    "Turn": "diotima.dialogue",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'diotima' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
