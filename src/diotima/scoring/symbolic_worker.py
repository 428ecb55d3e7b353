r"""Compare two formulas with math-verify, in a process of its own that may be killed at any moment.

A script of its own, which imports nothing of diotima: it starts fast, and needs no path. It reads one JSON object a
line (``given``, ``expected``, ``allowed``: the absolute and the relative tolerance) and answers each with one word; at
the end of its input it ends, so it does not outlive the process that started it.

What was found in math-verify 0.9 and latex2sympy2_extended 1.11, and what follows from it:

* ``ExprExtractionConfig`` gives text to ``sympy.parse_expr``, which evaluates it as Python. It is never used: the text
  goes to ``latex2sympy``, whose ANTLR grammar builds the tree without evaluating anything. The extraction from prose is
  ours as well; math-verify's falls back on strings, and takes a trailing ``t`` or ``m`` for a unit.
* ``latex2sympy`` makes every number by ``sympy.Number(token)``, and that ends in ``parse_expr`` too, on what its
  grammar holds for a number. Here ``parse_expr`` is replaced by a reader of decimals that refuses everything else. So
  no text reaches ``eval``, whatever path leads there, and ``0.1`` is exactly 1/10. (SymPy's polynomials compile
  functions of their own, from the number of variables alone.)
* Function names reach ``getattr`` on SymPy's modules only as one of a fixed list of names in the grammar.
* ``verify`` swallows every exception and then says False. So values are compared here, numerically to 30 digits at
  fixed points, containers and relations part by part, and ``verify`` (its tolerances shut, its own signals off, because
  the limit is held from outside) has the last word only on what is left.

A hook refuses to start processes, to open sockets and to write files, should anything of this be wrong. Where the
module ``resource`` does not exist (Windows) memory is not limited, and time by the parent's clock alone.
"""

import json
import math
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import lru_cache
from typing import Any

WARM_UP = (r"x=\frac{1}{2}", r"\left(\sqrt{2},\pi\right]", r"\{1,-2\}", "-2x+y^2", r"\begin{pmatrix}1\\2\end{pmatrix}")
DIGITS = 30
_DECIMAL = re.compile(r"[0-9]{0,400}(?:\.[0-9]{0,400})?(?:[eE][-+]?[0-9]{1,3})?")
_POINTS = tuple(sign * math.sqrt(prime) for prime, sign in [(2, 1), (3, -1), (5, 0.1), (7, 1), (11, -0.1), (13, -1)])
_ALLOWED_EVENTS = ("os.listdir", "os.scandir")
_REFUSED_EVENTS = ("os.", "subprocess.", "socket.", "shutil.", "pty.", "ctypes.", "webbrowser.", "urllib.")


def main(seconds: float, memory: int) -> None:
    """Answer requests until the input ends; a check may take so many seconds of processor time and bytes of memory."""
    replies = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)  # a stray print must not be read as an answer
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then closes the input
    limit = limiter(seconds, memory)
    confine()
    for latex in WARM_UP:
        compare(latex, latex)
    print("ready", file=replies, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        limit()
        try:
            same = compare(request["given"], request["expected"], *request["allowed"])
            answer = "correct" if same else "incorrect"
        except MemoryError:
            print("crashed", file=replies, flush=True)
            return
        except Exception:  # whatever a parser or a computer algebra system raises on nonsense
            answer = "unparsed"
        print(answer, file=replies, flush=True)


def limiter(seconds: float, memory: int) -> Callable[[], None]:
    """Limit this process's memory at once; the function returned gives it that much more processor time."""
    try:
        import resource
    except ImportError:
        return lambda: None
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (memory if most == resource.RLIM_INFINITY else min(memory, most), most))

    def more_time() -> None:
        used = resource.getrusage(resource.RUSAGE_SELF)
        _, most = resource.getrlimit(resource.RLIMIT_CPU)
        soft = math.ceil(used.ru_utime + used.ru_stime + seconds) + 1
        resource.setrlimit(resource.RLIMIT_CPU, (soft if most == resource.RLIM_INFINITY else min(soft, most), most))

    return more_time


def confine() -> None:
    """Take away what no comparison needs: evaluating text, starting processes, sockets, writing files."""
    import latex2sympy2_extended.latex2sympy2
    import math_verify.parser
    import sympy.parsing.sympy_parser
    import sympy.physics.units  # which SymPy imports late, and which has its own names evaluated

    for module in (sympy.parsing.sympy_parser, sympy.parsing, latex2sympy2_extended.latex2sympy2, math_verify.parser):
        module.parse_expr = read_decimal
    sys.addaudithook(_refuse)


def read_decimal(text: str, *_: object, **__: object) -> Any:
    """The exact value of a decimal; in `parse_expr`'s place. Raises ValueError on any other text."""
    import sympy

    if not text or not _DECIMAL.fullmatch(text):
        raise ValueError(f"not a decimal: {text[:40]!r}")
    value = Fraction(text)
    return sympy.Rational(value.numerator, value.denominator)


def compare(given: str, expected: str, absolute: float = 0.0, relative: float = 0.0) -> bool:
    """Whether two LaTeX formulas are equal; raises if one of them cannot be parsed."""
    return Comparison(given, expected, absolute, relative).same(read(expected), read(given))


@lru_cache(maxsize=256)
def read(latex: str) -> Any:
    """The SymPy object that a formula denotes."""
    from latex2sympy2_extended import NormalizationConfig, latex2sympy, normalize_latex

    rules = NormalizationConfig(basic_latex=True, units=False, malformed_operators=True, nits=True, boxed="none")
    return latex2sympy(normalize_latex(latex, rules), is_real=True, convert_degrees=False, normalization_config=None)


class Comparison:
    """One comparison; `same` descends into the parts of both sides."""

    def __init__(self, given: str, expected: str, absolute: float, relative: float) -> None:
        self.braces = ["\\{" in side for side in (expected, given)]  # a list without them may also be a tuple
        self.absolute, self.relative = absolute, relative

    def same(self, expected: Any, given: Any) -> bool:
        """Whether two SymPy objects mean the same answer."""
        import sympy
        from math_verify.grader import verify

        expected, given = unwrap(expected, given)
        kinds = [kind_of(side) for side in (expected, given)]
        if kinds == ["value", "value"]:
            equal = self.same_value(expected, given)
            if equal is not None:
                return equal
        elif kinds == ["relation", "relation"]:
            equal = same_relation(expected, given)
            if equal is not None:
                return equal
        elif kinds == ["set", "set"]:
            return self.same_parts(expected.args, given.args, ordered=False)
        elif "set" in kinds and set(kinds) <= {"set", "tuple", "open"}:
            sides = [getattr(side, "_unsorted_args", ends(side)) for side in (expected, given)]
            return not self.braces[kinds.index("set")] and self.same_parts(sides[0], sides[1], ordered=True)
        elif set(kinds) <= {"tuple", "open"}:
            return self.same_parts(ends(expected), ends(given), ordered=True)
        elif set(kinds) <= {"open", "interval"}:
            closed = [(side.left_open, side.right_open) for side in (expected, given)]
            return bool(closed[0] == closed[1]) and self.same_parts(ends(expected), ends(given), ordered=True)
        elif kinds == ["matrix", "matrix"]:
            return bool(expected.shape == given.shape) and self.same_parts(expected, given, ordered=True)
        elif isinstance(expected, sympy.Union) and isinstance(given, sympy.Union):
            if self.same_parts(expected.args, given.args, ordered=False):
                return True
        elif "value" in kinds and set(kinds) & {"set", "tuple", "open", "interval", "matrix"}:
            return False
        return bool(
            verify(
                expected,
                given,
                float_rounding=DIGITS,
                numeric_precision=DIGITS,
                allow_set_relation_comp=True,
                timeout_seconds=None,
                raise_on_error=True,
            )
        )

    def same_parts(self, expected: Any, given: Any, ordered: bool) -> bool:
        """Whether the parts are the same, one by one or in any order."""
        wanted, rest = list(expected), list(given)
        if len(wanted) != len(rest):
            return False
        if ordered:
            return all(self.same(*pair) for pair in zip(wanted, rest, strict=True))
        for part in wanted:
            match = next((index for index, other in enumerate(rest) if self.same(part, other)), None)
            if match is None:
                return False
            del rest[match]
        return True

    def same_value(self, expected: Any, given: Any) -> bool | None:
        """Whether two expressions have the same values; None if they cannot be evaluated."""
        if expected.is_Rational and given.is_Rational and not (self.absolute or self.relative):
            return bool(expected == given)
        constant = not (expected.free_symbols | given.free_symbols)
        equal = [self.close(*pair, tolerant=constant) for pair in value_pairs(expected, given)]
        return all(equal) if equal else None

    def close(self, expected: Any, given: Any, tolerant: bool) -> bool:
        """Whether two numbers are equal to 20 of their 30 digits, or within the tolerance."""
        allowed = max(abs(expected), abs(given)) / 10**20 + Fraction(1, 10**50)
        if tolerant:
            allowed = max(allowed, self.absolute, self.relative * abs(expected))
        return bool(abs(expected - given) <= allowed)


def kind_of(side: Any) -> str:
    """The kind of answer that a SymPy object is, as far as kinds are compared here."""
    import sympy

    if isinstance(side, sympy.MatrixBase):
        return "matrix"
    if isinstance(side, sympy.core.relational.Relational):
        return "relation"
    if isinstance(side, sympy.FiniteSet):
        return "set"
    if isinstance(side, sympy.Tuple):
        return "tuple"
    if isinstance(side, sympy.Interval):
        return "open" if side.left_open and side.right_open else "interval"
    return "value" if isinstance(side, sympy.Expr) else "other"


def ends(side: Any) -> Any:
    """The parts of a tuple, in order; of an interval its two ends."""
    import sympy

    return (side.start, side.end) if isinstance(side, sympy.Interval) else side.args


def unwrap(expected: Any, given: Any) -> tuple[Any, Any]:
    """Without ``x =`` where only one side has it, or both the same; an equation's last side against a value."""
    from math_verify.grader import is_assignment_relation, is_equation, take_first_relation, take_last_relation

    ours, theirs = is_assignment_relation(given), is_assignment_relation(expected)
    if ours and theirs:
        if take_first_relation(expected).lhs != take_first_relation(given).lhs:
            return expected, given
        return take_last_relation(expected).rhs, take_last_relation(given).rhs
    if theirs and kind_of(given) != "relation":
        expected = take_last_relation(expected).rhs
    elif is_equation(given) and kind_of(expected) != "relation":
        given = take_last_relation(given).rhs
    return expected, given


def same_relation(expected: Any, given: Any) -> bool | None:
    """Whether two relations say the same: one's sides differ by a multiple of what the other's differ by."""
    import sympy

    flipped = (sympy.LessThan, sympy.StrictLessThan)
    sides = [
        (relation.reversed if isinstance(relation, flipped) else relation)
        for relation in (expected, given)
        if isinstance(relation.lhs, sympy.Expr) and isinstance(relation.rhs, sympy.Expr)
    ]
    if len(sides) < 2 or sides[0].rel_op != sides[1].rel_op:
        return None
    wanted, found = (sympy.Add(side.lhs, -side.rhs, evaluate=False) for side in sides)
    pairs = list(value_pairs(wanted, found))
    ratios = [ours / theirs for theirs, ours in pairs if abs(theirs) > 1e-9]
    if len(pairs) < 2 or not ratios or len(ratios) < len(pairs):
        return None
    constant = all(abs(ratio - ratios[0]) <= abs(ratios[0]) / 10**20 for ratio in ratios)
    equation = sides[0].rel_op in ("==", "!=")
    if constant and ratios[0] != 0 and (equation or (ratios[0].is_real and ratios[0] > 0)):
        return True
    return None


def value_pairs(expected: Any, given: Any) -> Iterator[tuple[Any, Any]]:
    """The values of two expressions at a few fixed points; points where one has none are left out."""
    import sympy

    symbols = sorted(expected.free_symbols | given.free_symbols, key=str)
    for shift in range(3 if any(symbol.name != "i" for symbol in symbols) else 1):
        place: dict[Any, Any] = {
            symbol: sympy.Float(_POINTS[(index + shift) % len(_POINTS)] * (1 + index // len(_POINTS)), 2 * DIGITS)
            for index, symbol in enumerate(symbols)
        }
        place |= {symbol: sympy.I for symbol in symbols if symbol.name == "i"}
        pair = [side.evalf(DIGITS, subs=place) for side in (expected, given)]
        if all(value.is_number and value.is_finite and not value.has(sympy.nan) for value in pair):
            yield pair[0], pair[1]


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    if writes or (event.startswith(_REFUSED_EVENTS) and event not in _ALLOWED_EVENTS):
        raise PermissionError(f"a comparison may not do this: {event}")


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]))
