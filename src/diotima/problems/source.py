"""Where problems come from, as settings of a command."""

from pathlib import Path
from typing import Annotated

import pydantic

from diotima.errors import SettingsError
from diotima.problems.files import ProblemSet, read_set
from diotima.problems.problem import Problem
from diotima.settings import Settings

Source = Annotated[str, pydantic.BeforeValidator(lambda value: str(value) if isinstance(value, Path) else value)]


class SourceSettings(Settings):
    """Which set of problems is read, and how."""

    problems: Source
    """File (.jsonl, .json, .csv, .tsv, .parquet), folder with a file for each split, or hf:NAME:CONFIG@SPLIT."""
    split: str = "train"
    """Which split to take, if problems is a folder, or an hf:NAME without @SPLIT."""
    columns: dict[str, str] = {}
    """Which column is the question, the answer, the solution, the steps or the id, where its name does not say so:
    --columns.question NAME --columns.answer NAME."""

    def read(self) -> ProblemSet:
        """The set, without siblings that would have to be made. Raises ProblemFileError, SettingsError for a split of a
        file, which has none.
        """
        if "split" in self.model_fields_set and Path(self.problems).is_file():
            raise SettingsError(f"split = {self.split}: {self.problems} is one file and has no splits; leave split out")
        return read_set(self.problems, self.split, self.columns)

    def one(self, wanted: str) -> Problem:
        """One problem of the set, by its id or its number from 1. Raises SettingsError if there is none."""
        problems = self.read().problems
        found = next((problem for problem in problems if problem.id == wanted), None)
        if found is None and wanted.isdecimal() and 1 <= int(wanted) <= len(problems):
            found = problems[int(wanted) - 1]
        if found is None:
            raise SettingsError(
                f"problem = {wanted}: {self.problems} holds problems 1 to {len(problems)}, none by this id"
            )
        return found
