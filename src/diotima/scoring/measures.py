"""Units of measure beside a number: what they measure, and how large they are against each other."""

import re
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit: what it measures, and its size in the smallest customary unit of that measure."""

    measure: str
    size: Fraction


def read_units(behind: str) -> tuple[Unit | None, Unit | None, str]:
    """The unit behind a number, the one behind its "per", and the first noun."""
    top, _, bottom = (part.strip().lower() for part in _PER.sub("\0", behind, count=1).partition("\0"))
    noun = top.split()[0] if top else ""
    return unit_named(top), unit_named(bottom), noun if len(noun) < 3 else noun.removesuffix("s")


def unit_named(words: str) -> Unit | None:
    """The unit that a phrase begins with: ``cm^2``, ``square inches``, ``$``; None if there is none."""
    power = 1
    if match := _POWER_WORD.match(words):
        power, words = _POWERS[match[1]], words[match.end() :]
    elif match := _POWER_SIGN.search(words):
        power, words = int(match[1]), words[: match.start()].strip()
    if words == "in":
        words = "inch"
    for count in (2, 1):
        name = " ".join(words.split()[:count]).strip(".,")
        unit = _UNITS.get(name) or _UNITS.get(name.removesuffix("s")) or _UNITS.get(name.removesuffix("es"))
        if unit:
            return Unit(f"{unit.measure}^{power}", unit.size**power)
    return None


def _table(measure: str, sizes: str) -> dict[str, Unit]:
    """Names and sizes: ``"mm=1 cm=10"``; underscores stand for blanks, slashes between names of the same unit."""
    pairs = (entry.split("=") for entry in sizes.split())
    return {name.replace("_", " "): Unit(measure, Fraction(size)) for names, size in pairs for name in names.split("/")}


def names_unit(words: str) -> bool:
    """Whether what stands behind a number begins with a measure, a scale word or a per cent sign."""
    first = _FIRST_WORD.match(words)
    return first is not None and (
        first[1].lower() in _FIRST_WORDS or first[1].lower().removesuffix("s") in _FIRST_WORDS
    )


_UNITS = {
    **_table(
        "length",
        "mm/millimeter/millimetre=1 cm/centimeter/centimetre=10 m/meter/metre=1000 km/kilometer/kilometre=1000000 "
        "inch=25.4 ft/foot/feet=304.8 yd/yard=914.4 mi/mile=1609344",
    ),
    **_table("mass", "mg/milligram=1 g/gram=1000 kg/kilogram=1000000"),
    **_table("weight", "oz/ounce=1 lb=16"),
    **_table("time", "s/sec/second=1 min/minute=60 h/hr/hour=3600 day=86400 week=604800"),
    **_table("calendar", "month=1 yr/year=12"),
    **_table("volume", "ml/milliliter/millilitre=1 l/liter/litre=1000"),
    **_table("kitchen", "cup=1 pint=2 quart=4 gallon=16"),
    **_table("dollar", "cent/¢=1 dollar/usd/$=100"),
    **_table("euro", "euro/eur/€=1"),
    **_table("sterling", "gbp/£=1"),
    **_table("degree", "degree/deg=1"),
    **_table("radian", "radian/rad=1"),
    **_table("celsius", "degrees_c/degrees_celsius/celsius=1"),
    **_table("fahrenheit", "degrees_f/degrees_fahrenheit/fahrenheit=1"),
}
_UNITS["inche"] = _UNITS["inch"]
SCALES = {
    "hundred": 100,
    "thousand": 1000,
    "million": 10**6,
    "billion": 10**9,
    "trillion": 10**12,
    "dozen": 12,
}
_POWERS = {"square": 2, "sq": 2, "sq.": 2, "cubic": 3, "cu": 3, "cu.": 3}
_FIRST_WORDS = frozenset(name.split()[0] for name in (*_UNITS, *SCALES, *_POWERS, "%", "percent", "per", "inches"))
_FIRST_WORD = re.compile(r"[\s$]*(%|¢|€|[A-Za-z]+)")
_PER = re.compile(r"\s+(?:per|an?|each|every)\s+|\s*/\s*", re.IGNORECASE)
_POWER_WORD = re.compile(rf"({'|'.join(map(re.escape, sorted(_POWERS, key=len, reverse=True)))})\s+")
_POWER_SIGN = re.compile(r"\s*\^\s*\{?([23])\}?$")
