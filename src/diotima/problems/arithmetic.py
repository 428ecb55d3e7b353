"""Reading the calculation that a step writes down: ``12 + 7 = 19``."""

import re
from dataclasses import dataclass
from functools import lru_cache

_WORK = re.compile(r"(\d+)\s*([-+*/])\s*(\d+)\s*=\s*(\d+)")


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
