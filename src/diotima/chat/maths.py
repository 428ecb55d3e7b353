r"""Maths as plain text: what a tutor writes in LaTeX, readable in a terminal.

``\( \frac{1}{2} + x^2 \)`` becomes 1/2 + x², ``\boxed{5}`` becomes [5]. It is small on purpose: fractions, powers,
indices, roots, and the common signs and letters. A formula in which anything else stands is left as it was written,
marks and all, because half a translation says something else than the tutor did. Money ($5 and $7) is no formula.

A reply comes in pieces, and a formula may come in two of them: `settled` says how much of a text can be shown already.
"""

import re

LONGEST = 1000  # characters between the marks of a formula; what is longer was none
LONGEST_INLINE = 200  # between single dollars
_DEPTH = 8  # groups within groups

_SIGNS = {
    "times": "×", "cdot": "·", "div": "÷", "pm": "±", "mp": "∓", "ast": "*",
    "le": "≤", "leq": "≤", "ge": "≥", "geq": "≥", "ne": "≠", "neq": "≠", "lt": "<", "gt": ">",
    "approx": "≈", "equiv": "≡", "sim": "~", "propto": "∝", "in": "∈", "cup": "∪", "cap": "∩", "subset": "⊂",
    "to": "→", "rightarrow": "→", "Rightarrow": "⇒", "implies": "⇒", "therefore": "∴", "iff": "⇔",
    "ldots": "…", "dots": "…", "cdots": "…", "infty": "∞", "circ": "°", "degree": "°", "angle": "∠", "triangle": "△",
    "sum": "∑", "prod": "∏", "int": "∫", "partial": "∂", "prime": "′", "mid": "|", "perp": "⊥", "parallel": "∥",
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε", "varepsilon": "ε", "theta": "θ",
    "lambda": "λ", "mu": "μ", "nu": "ν", "pi": "π", "rho": "ρ", "sigma": "σ", "tau": "τ", "phi": "φ", "varphi": "φ",
    "chi": "χ", "psi": "ψ", "omega": "ω", "Gamma": "Γ", "Delta": "Δ", "Theta": "Θ", "Lambda": "Λ", "Pi": "Π",
    "Sigma": "Σ", "Phi": "Φ", "Psi": "Ψ", "Omega": "Ω",
    "left": "", "right": "", "big": "", "Big": "", "displaystyle": "", "quad": "  ", "qquad": "    ",
    **{name: name for name in "sin cos tan cot log ln exp min max gcd lcm lim mod".split()},
}  # fmt: skip
_ESCAPED = {"%": "%", "$": "$", "#": "#", "&": "&", "_": "_", ",": " ", ";": " ", ":": " ", " ": " ", "!": ""}
_OPEN_BRACE, _CLOSE_BRACE = "\ufdd0", "\ufdd1"  # stand for braces that are meant to be read; no text has them
_ESCAPED |= {"{": _OPEN_BRACE, "}": _CLOSE_BRACE}
_BRACES = str.maketrans({_OPEN_BRACE: "{", _CLOSE_BRACE: "}"})
_RAISED = str.maketrans("0123456789+-−=()abikmntxy", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻⁼⁽⁾ᵃᵇⁱᵏᵐⁿᵗˣʸ")
_LOWERED = str.maketrans("0123456789+-−=()aeijkmnopstx", "₀₁₂₃₄₅₆₇₈₉₊₋₋₌₍₎ₐₑᵢⱼₖₘₙₒₚₛₜₓ")
_ROOTS = {"": "√", "2": "√", "3": "∛", "4": "∜"}

_FORMULA = re.compile(
    rf"\\\((.{{1,{LONGEST}}}?)\\\)|\\\[(.{{1,{LONGEST}}}?)\\\]|(?<![\\$])\$\$(.{{1,{LONGEST}}}?)\$\$|"
    rf"(?<![\\$])\$((?!\s)[^$\n]{{1,{LONGEST_INLINE}}}(?<![\s\\]))\$(?![\d$])",
    re.DOTALL,
)
_PROSE = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{2,},?\s+[A-Za-z]{2,}")
_SIGN = re.compile(r"\\([A-Za-z]+)|\\([^A-Za-z\s\\()\[\]]|\ )")
_GAP = re.compile(r"(\\[A-Za-z]+|[\]}^_])\s+(?=[{^_])")
_ARGUMENT = r"(?:\{([^{}]*)\}|(\w))"
_FRACTION = re.compile(rf"\\[dtc]?frac(?![A-Za-z]){_ARGUMENT}{_ARGUMENT}")
_ROOT = re.compile(rf"\\sqrt(?![A-Za-z])(?:\[([^][{{}}]*)\])?{_ARGUMENT}")
_BOX = re.compile(r"\\f?box(?:ed)?\{([^{}]*)\}")
_WORDS = re.compile(r"\\(?:text(?:bf|it|rm|normal)?|mathrm|mathbf|mathit|operatorname|mbox)\{([^{}]*)\}")
_DEGREES = re.compile(r"\^(?:°|\{\s*°\s*\})")
_POWER = re.compile(r"\^(?:\{([^{}]*)\}|(-?\d+|[\w*'′]))")
_INDEX = re.compile(r"_(?:\{([^{}]*)\}|(\d+|\w))")
_PROSE_POWER = re.compile(r"(?<=[0-9A-Za-z)\]])\^(?:\{(-?\w+)\}|(-?\d+))(?![\w{])")
_NUMERATOR = re.compile(r"-?[\w.,$%°]+")
_DENOMINATOR = re.compile(r"\$?[\d.,]*\d%?|[^\W\d_][⁰¹²³⁴⁵⁶⁷⁸⁹ⁿ₀-₉]*|[^\W\d_]{3,}")
_BRACE = re.compile(r"[{}]")
_NEXT = re.compile(
    rf"(?P<formula>{_FORMULA.pattern})|(?P<group>(?:\\[A-Za-z]+(?:\[[^][{{}}\n]{{0,9}}\])?|[\^_])\{{)|"
    r"(?P<mark>\\[(\[]|(?<!\\)\$\$?)|(?P<blank>\s+)",
    re.DOTALL,
)


def readable(text: str) -> str:
    """The text with its formulas as plain text, as far as they are understood."""
    if not ("\\" in text or "$" in text or "^" in text):
        return text
    parts, end = [], 0
    for found in _FORMULA.finditer(text):
        inside = next(part for part in found.groups() if part is not None)
        if found[4] is not None and _PROSE.search(_WORDS.sub("", inside)):
            continue
        parts += [_in_prose(text[end : found.start()]), _formula(inside.strip()) or found.group()]
        end = found.end()
    return "".join([*parts, _in_prose(text[end:])])


def settled(text: str) -> int:
    """How many characters of a text that goes on can be made `readable` now: whole words, and no half formula."""
    ready = at = 0
    while found := _NEXT.search(text, at):
        at = found.end()
        if found["blank"]:
            ready = at
        elif found["group"]:
            end = _group_end(text, at)
            if end is None and len(text) - at <= LONGEST:
                return ready
            at = end or at
        elif found["mark"] and _may_be_closed(found["mark"], text[at:]):
            return ready
    return ready


def _group_end(text: str, start: int) -> int | None:
    """Where the brace is closed that was opened just before, None if it is not (yet)."""
    depth = 1
    for brace in _BRACE.finditer(text, start, start + LONGEST):
        depth += 1 if brace.group() == "{" else -1
        if not depth:
            return brace.end()
    return None


def _may_be_closed(mark: str, rest: str) -> bool:
    """Whether what comes may make a formula of a mark and what stands behind it."""
    if mark != "$":
        return len(rest) <= LONGEST + 2
    return not (rest[:1].isspace() or "$" in rest or "\n" in rest) and len(rest) <= LONGEST_INLINE


def _formula(inside: str) -> str:
    """A formula as plain text, or "" if there is something in it that is not known."""
    text = _groups(_GAP.sub(r"\1", _signs(inside)), formula=True)
    if any(sign in text for sign in "\\{}"):
        return ""
    return text.translate(_BRACES)


def _in_prose(text: str) -> str:
    """Text between formulas, in which commands and powers may stand all the same; what is not known stays."""
    if "\\" in text:
        text = _groups(_signs(text), formula=False).translate(_BRACES)
    return _PROSE_POWER.sub(_prose_power, text)


def _signs(text: str) -> str:
    return _SIGN.sub(_sign, text).replace("{,}", ",")


def _sign(found: re.Match[str]) -> str:
    name, escaped = found.groups()
    known = _SIGNS.get(name) if name else _ESCAPED.get(escaped)
    return found.group() if known is None else known


def _groups(text: str, formula: bool) -> str:
    """The text without its braces, the innermost first."""
    for _ in range(_DEPTH):
        before = text
        text = _WORDS.sub(r"\1", text)
        if formula:
            text = _INDEX.sub(_index, _POWER.sub(_power, _DEGREES.sub("°", text)))
        text = _BOX.sub(r"[\1]", _ROOT.sub(_root, _FRACTION.sub(_fraction, text)))
        if text == before:
            break
    return text


def _fraction(found: re.Match[str]) -> str:
    over, under = ((found[1] if found[1] is not None else found[2]), (found[3] if found[3] is not None else found[4]))
    told = f"{_bracketed(over, _NUMERATOR)}/{_bracketed(under, _DENOMINATOR)}"
    before, after = found.string[: found.start()][-1:], found.string[found.end() :][:1]
    if before.isdigit() and told.replace("/", "").isdigit():
        return f" {told}"  # two and a half
    return f"({told})" if before.isalnum() or after.isalnum() or (after and after in "(^\\√") else told


def _root(found: re.Match[str]) -> str:
    degree, inside = found[1] or "", found[2] if found[2] is not None else found[3]
    sign = _ROOTS.get(degree.strip()) or _script(degree, _RAISED, "") + "√"
    return sign + _bracketed(inside, _DENOMINATOR)


def _power(found: re.Match[str]) -> str:
    return _script(found[1] if found[1] is not None else found[2], _RAISED, "^")


def _index(found: re.Match[str]) -> str:
    return _script(found[1] if found[1] is not None else found[2], _LOWERED, "_")


def _prose_power(found: re.Match[str]) -> str:
    raised = (found[1] or found[2]).translate(_RAISED)
    return found.group() if raised.isascii() else raised


def _script(inside: str, alphabet: dict[int, int], mark: str) -> str:
    """Raised or lowered, where there are signs for all of it."""
    tight = "".join(inside.split())
    moved = tight.translate(alphabet)
    if all(ord(sign) in alphabet for sign in tight):
        return moved
    return mark + (tight if tight in ("'", "′", "*") else _bracketed(inside, _NUMERATOR))


def _bracketed(inside: str, bare: re.Pattern[str]) -> str:
    inside = inside.strip()
    return inside if bare.fullmatch(inside) else f"({inside})"
