r"""One way of writing for many: the LaTeX and Unicode of answers, brought into a form that is compared or parsed.

Nothing here changes what an answer says. ``\dfrac``, ``\tfrac`` and ``\frac`` are one sign, so are ``\left(`` and
``(``, ``−`` and ``-``; blanks that only space, and the marks around a formula, go. All passes are linear in the text.
"""

import re

_SIGNS = str.maketrans(
    {
        "−": "-",
        "–": "-",
        "×": r"\times ",
        "·": r"\cdot ",
        "÷": "/",
        "π": r"\pi ",
        "∞": r"\infty ",
        "θ": r"\theta ",
        "≤": r"\le ",
        "≥": r"\ge ",
        "≠": r"\ne ",
        "±": r"\pm ",
        "∪": r"\cup ",
        "∩": r"\cap ",
        "∈": r"\in ",
        "°": r"^\circ ",
        "⁰": "^0",
        "¹": "^1",
        "²": "^2",
        "³": "^3",
        "⁴": "^4",
        "½": " 1/2",
        "⅓": " 1/3",
        "⅔": " 2/3",
        "¼": " 1/4",
        "¾": " 3/4",
        "\u00a0": " ",
        "\u2009": " ",
        "\u202f": " ",
        "’": "'",
    }
)
_NOTHING_SPECIAL = re.compile(r"(?:(?!sqrt)[A-Za-z0-9 \n.,:;=+/%()-])*+")
_SPACING = re.compile(r"\\!\s*|\\(?:left|right|bigl?|bigr|Bigl?|Bigr|displaystyle|textstyle)(?![A-Za-z])\.?")
_BLANK = re.compile(r"(?<!\\)\\(?:[,;: ]|quad\b|qquad\b|newline\b)|~")
_FRACTION = re.compile(r"\\[dtc]frac(?![A-Za-z])")
_SHORT_FRACTION = re.compile(r"\\frac\s*(?:(\d)\s*(\d)|(\d)\s*\{([^{}]*)\}|\{([^{}]*)\}\s*(\d))")
_ROOT = re.compile(r"(?:√|(?<![\\A-Za-z])sqrt)\s*(?:(\d++(?:\.\d+)?|[A-Za-z](?![A-Za-z]))|\(([^()]*)\)|(?=\{))")
_MATHS_MARKS = re.compile(r"\\[()\[\]]|(?<!\\)\$")
_TEXT = re.compile(r"\\(?:text(?:bf|it|rm|normal|sf|tt)?|mathrm|mathbf|mathit|mathsf|mbox|hbox)\s*\{([^{}]*)\}")
_UNIT_BEHIND = re.compile(
    rf"(?<=[\w)}}\]])\s*(?:{_TEXT.pattern})\s*(?:\^\s*(?:\d|\{{\d\}}))?\s*$|\^\s*(?:\\circ|\{{\s*\\circ\s*\}})"
)
_GROUPS = re.compile(r"(?<![\d.,])[1-9]\d{0,2}(?:,\d{3})+(?![\d,])")
_MIXED = re.compile(r"(?<![\d.,/^_{])(\d{1,9})(?: (\d{1,9})/(\d{1,9})(?![\d./])| ?\\frac\{(\d{1,9})\}\{(\d{1,9})\})")
_DEGREES = re.compile(r"\^\s*(?:\\circ|\{\s*\\circ\s*\})(?![A-Za-z])|\\degree\b")


def tidy(text: str) -> str:
    r"""An answer in one notation, ``\text{...}`` kept: signs in ASCII or LaTeX, no spacing, no marks around formulas.

    A lone dollar sign is money and stays; several are marks of formulas and go.
    """
    if _NOTHING_SPECIAL.fullmatch(text):
        return " ".join(text.split()).removesuffix(".").strip()
    text = _BLANK.sub(" ", _SPACING.sub("", text.translate(_SIGNS)))
    if text.startswith(("\\(", "\\[")) or len(re.findall(r"(?<!\\)\$", text)) > 1:
        text = _MATHS_MARKS.sub("", text)
    text = text.replace(r"\$", "$").replace(r"\%", "%").replace("{,}", ",").replace("**", "").replace("`", "")
    text = _ROOT.sub(lambda root: rf"\sqrt{{{root[1] or root[2]}}}" if root[1] or root[2] else r"\sqrt", text)
    text = _SHORT_FRACTION.sub(_braced, _FRACTION.sub(r"\\frac", text))
    return " ".join(text.split()).removesuffix(".").strip()


def plain(tidied: str) -> str:
    r"""A tidied answer for reading as words and numbers: ``\text{cm}`` is cm, ``30^\circ`` is 30 degrees."""
    return " ".join(_DEGREES.sub(" degrees ", _TEXT.sub(r" \1 ", tidied)).split()).removesuffix(".").strip()


def formula(tidied: str) -> str:
    r"""A tidied answer for reading as a formula: no unit, degrees or commas of thousands; ``2 1/2`` is a sum."""
    bare = _MIXED.sub(_sum, _UNIT_BEHIND.sub("", tidied).replace("$", "").strip())
    return bare if bare.startswith(("(", "[", "\\{")) else _GROUPS.sub(lambda number: number[0].replace(",", ""), bare)


def _sum(mixed: re.Match[str]) -> str:
    whole, top, bottom = (part for part in mixed.groups() if part is not None)
    return rf"({whole}+\frac{{{top}}}{{{bottom}}})" if int(top) < int(bottom) else mixed.group()


def _braced(fraction: re.Match[str]) -> str:
    top, bottom = (part for part in fraction.groups() if part is not None)
    return rf"\frac{{{top}}}{{{bottom}}}"
