"""Reading the calculation that a step writes down: ``12 + 7 = 19``.

Two whole numbers and a whole result, or nothing is read: half of ``1.5 + 2 = 3.5`` or of ``2 + 3 + 4 = 9`` would be
another calculation.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

_WORK = re.compile(r"(?<![\w.,)])(?<![-+*/])(?<![-+*/)]\s)(\d+)\s*([-+*/])\s*(\d+)\s*=\s*(\d+)(?![.,/]?\d)")


@dataclass(frozen=True, slots=True)
class Calculation:
    """``left operator right = result``, whole numbers."""

    left: int
    operator: str
    right: int
    result: int

    def __str__(self) -> str:
        return f"{self.left} {self.operator} {self.right} = {self.result}"


@lru_cache(maxsize=4096)
def read_calculation(work: str) -> Calculation | None:
    """The calculation in ``work``, or None if it is not of that form."""
    found = _WORK.search(work)
    if not found:
        return None
    left, operator, right, result = found.groups()
    return Calculation(int(left), operator, int(right), int(result))
