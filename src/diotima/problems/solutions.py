"""Solutions as they are written in data sets, line by line, and the steps in them.

GSM8K (Cobbe et al. 2021) annotates the calculation of a line, ``She sells 16 - 3 - 4 = <<16-3-4=9>>9 eggs``; its
Socratic variant puts the sub-question before it, ``How many eggs does she sell? ** She sells ...``. Such a line is one
step. Solutions of other sets are prose: a sentence is a step if it holds a right calculation, and steps are kept only
if they lead to the answer.
"""

import re

from diotima.problems.arithmetic import Calculation, Operation, holds, read_calculation, write_number
from diotima.problems.numbers import parse_number
from diotima.problems.problem import Problem, Step

_ANNOTATION = re.compile(r"<<([^<>\n]+)>>")
_SUB_QUESTION = " ** "
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")


def annotated_steps(solution: str) -> tuple[Step, ...]:
    """The steps of an annotated solution: one for each line with a calculation.

    A line that is annotated is a step even if its calculation cannot be read (``<<560//10=56>>``) or is none
    (``x = <<40=40>>40``): its work is then no calculation, and the problem is not `executable`.
    """
    return tuple(step for line in solution.split("\n") if (step := _annotated_step(line)) is not None)


def plain_steps(solution: str, answer: str) -> tuple[Step, ...]:
    """The steps of a solution in prose: its sentences with a right calculation, if the last gives the answer.

    A solution in LaTeX has none: sums that can be read in a proof are not its steps.
    """
    if "\\" in solution:
        return ()
    sentences = (sentence.strip() for sentence in _SENTENCE.split(solution))
    found = ((sentence, _right(sentence)) for sentence in sentences if "=" in sentence)
    steps = tuple(_step("", calculation, sentence) for sentence, calculation in found if calculation is not None)
    return steps if steps and _gives(steps[-1], answer) else ()


def without_annotations(solution: str) -> str:
    """The solution as people should see it: without annotations and sub-questions."""
    return "\n".join(_spoken(line)[1] for line in solution.split("\n")).strip()


def executable(problem: Problem) -> bool:
    """Whether the calculation of every step holds, and the last one gives the answer."""
    right = problem.steps and all(_right(step.work) is not None for step in problem.steps)
    return bool(right) and _gives(problem.steps[-1], problem.answer)


def _annotated_step(line: str) -> Step | None:
    question, text = _spoken(line)
    annotation = _ANNOTATION.search(line)
    calculation = read_calculation(line)
    if calculation is None or not isinstance(calculation.expression, Operation):
        # "7.5 / .5 = <<15=15>>15" has its calculation in the text.
        calculation = _right(text)
    if calculation is not None and (annotation or holds(calculation)):
        return _step(question, calculation, text)
    if annotation:
        return Step(question, annotation[1], annotation[1].rpartition("=")[2].strip() or annotation[1], text=text)
    return None


def _spoken(line: str) -> tuple[str, str]:
    """The sub-question of a line, or "", and its sentence without annotations."""
    question, mark, text = line.partition(_SUB_QUESTION)
    return (question.strip(), _ANNOTATION.sub("", text).strip()) if mark else ("", _ANNOTATION.sub("", line).strip())


def _right(text: str) -> Calculation | None:
    """The calculation in the text, if there is one with an operation in it and it holds."""
    calculation = read_calculation(text)
    return calculation if calculation and isinstance(calculation.expression, Operation) and holds(calculation) else None


def _step(question: str, calculation: Calculation, text: str) -> Step:
    return Step(question, str(calculation), write_number(calculation.result), text=text)


def _gives(step: Step, answer: str) -> bool:
    value = parse_number(answer)
    return value is not None and parse_number(step.result) == value
