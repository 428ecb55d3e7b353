"""One person's ratings of one tutor turn, whatever file they were read from."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import isnan
from typing import Any

from diotima.dialogue import Dialogue
from diotima.errors import ProblemFileError

_NUMBER = re.compile(r"-?\d{1,9}(?:\.\d{1,9})?")


@dataclass(frozen=True, slots=True)
class Rated:
    """What one person said about one tutor turn.

    ``dialogue``: ends with the turn that was rated; its seed is made of its text. ``tutor``: who gave the turn, "" if
    not told. ``labels``: criterion -> what the person said, a label or a whole number; a criterion that the person left
    out is not there. ``rater``: the person, "" if not told.
    """

    dialogue: Dialogue
    tutor: str
    labels: Mapping[str, str | int]
    rater: str = ""


def label_of(fields: Mapping[str, Any], name: str) -> str | int | None:
    """The label or whole number in a field, however the number is written; None where nothing stands.

    Raises ProblemFileError for anything else: half points, truth values, lists.
    """
    value = fields.get(name)
    if isinstance(value, str):
        value = float(value) if _NUMBER.fullmatch(value.strip()) else value.strip()
    if value is None or value == "" or (isinstance(value, float) and isnan(value)):
        return None
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ProblemFileError(f"the field {name} must be a label or a whole number, not {value!r}")
    return value
