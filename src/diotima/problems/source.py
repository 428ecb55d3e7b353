"""Where problems come from, as settings of a command."""

from pathlib import Path
from typing import Annotated

import pydantic

from diotima.problems.files import ProblemSet, read_set
from diotima.settings import Settings

Source = Annotated[str, pydantic.BeforeValidator(lambda value: str(value) if isinstance(value, Path) else value)]


class SourceSettings(Settings):
    """Which set of problems is read, and how."""

    problems: Source
    """File (.jsonl, .json, .csv, .tsv, .parquet), folder with a file for each split, or hf:NAME:CONFIG@SPLIT."""
    split: str = "train"
    """Which split to take, if problems is a folder, or an hf:NAME without @SPLIT."""
    columns: dict[str, str] = {}
    """Which column is the question, the answer, the solution, the steps or the id, where its name does not say so."""

    def read(self) -> ProblemSet:
        """The set, without siblings that would have to be made. Raises ProblemFileError."""
        return read_set(self.problems, self.split, self.columns)
