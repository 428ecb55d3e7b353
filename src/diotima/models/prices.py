"""What calls to services cost: a dated table, one's own prices over it, and exact arithmetic in millionths of a dollar.

A price in dollars per million tokens is the same number in micro-dollars per token, so sums are in whole micro-dollars,
and a price is a fraction: a floating-point number would drift over ten thousand lessons. Every cost is rounded up.

The table (``prices.yaml``) is as old as its date, and whoever shows a cost shows the date with it. A model that is not
in it has no price rather than a guessed one: ``gpt-4o-2024-08-06`` costs what ``gpt-4o`` does, ``gpt-4o-audio`` does
not. Services that tell their prices (OpenRouter) are asked, not looked up. Reasoning tokens are part of the reply's.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

from diotima.errors import SettingsError
from diotima.settings import did_you_mean, read_yaml

TABLE = Path(__file__).with_name("prices.yaml")
_FIELDS = ("prompt", "cached", "reply")
_KEYS = ("as_of", "source", "prices")
_DATED = re.compile(r"-\d{4}-\d{2}-\d{2}$")


@dataclass(frozen=True, slots=True)
class Price:
    """What a token costs, in micro-dollars: read for the first time, read again from the service's cache, written."""

    prompt: Fraction
    cached: Fraction
    reply: Fraction


FREE = Price(Fraction(0), Fraction(0), Fraction(0))
"""What models on one's own machines cost."""


def cost(price: Price, prompt: int, cached: int, reply: int) -> int:
    """What a call costs in micro-dollars, rounded up; ``cached`` of the ``prompt`` tokens came from a cache."""
    cached = min(max(cached, 0), prompt)
    return math.ceil(price.prompt * (prompt - cached) + price.cached * cached + price.reply * reply)


def micro_dollars(dollars: Decimal) -> int:
    """Dollars as whole micro-dollars, rounded up."""
    return math.ceil(Fraction(dollars) * 1_000_000)


def dollars(micro: int) -> str:
    """Micro-dollars as people read them: $12.30, $0.0123; small sums keep the digits that tell them from nothing."""
    places = 2 if micro >= 10_000_000 or micro == 0 else 4 if micro >= 10_000 else 6
    whole, _, part = f"{Decimal(micro) / 1_000_000:,.{places}f}".partition(".")
    return f"${whole}.{part.rstrip('0'):0<2}"


def price_of(model: str, overrides: Mapping[str, Price]) -> Price | None:
    """The price of ``backend/NAME``, or None if it is not known.

    ``overrides`` go before the table. A model that ends in a date and is not known by it costs what it costs without.
    """
    known = {**_table()[1], **overrides}
    return known.get(model) or known.get(_DATED.sub("", model))


def prices_as_of() -> date:
    """The day as of which the package's table holds."""
    return _table()[0]


def read_prices(path: Path) -> dict[str, Price]:
    """The prices in a file of the table's form. Raises SettingsError that names file, model and field."""
    return _read(path)[1]


def price_from(values: Mapping[str, object], where: str) -> Price:
    """A price from dollars per million tokens under prompt, reply and, where they cost less, cached.

    Raises SettingsError that begins with ``where`` and names the field.
    """
    unknown = next((name for name in values if name not in _FIELDS), None)
    if unknown is not None:
        raise SettingsError(f"{where}.{unknown} is not part of a price; {did_you_mean(str(unknown), _FIELDS)}")
    missing = next((name for name in ("prompt", "reply") if name not in values), None)
    if missing is not None:
        raise SettingsError(f"{where}.{missing} is missing; give it in dollars per million tokens")
    found: dict[str, Fraction] = {}
    for name, value in values.items():
        number = _not_negative(value)
        if number is None:
            raise SettingsError(
                f"{where}.{name} = {value!r}: must be dollars per million tokens, a number that is not below 0"
            )
        found[name] = number
    return Price(found["prompt"], found.get("cached", found["prompt"]), found["reply"])


def openrouter_price(entry: Mapping[str, Any]) -> Price | None:
    """The price in a model's entry of OpenRouter's list, where it stands in dollars per token.

    None if it is not there, is not fixed beforehand (a router's), or is not by tokens alone.
    """
    pricing = entry.get("pricing")
    if not isinstance(pricing, Mapping):
        return None
    prompt, reply = _not_negative(pricing.get("prompt")), _not_negative(pricing.get("completion"))
    if prompt is None or reply is None or _not_negative(pricing.get("request", 0)) != 0:
        return None
    cached = _not_negative(pricing.get("input_cache_read"))
    thought = _not_negative(pricing.get("internal_reasoning")) or reply
    million = 1_000_000
    return Price(prompt * million, (prompt if cached is None else cached) * million, max(reply, thought) * million)


@lru_cache(maxsize=1)
def _table() -> tuple[date, dict[str, Price]]:
    as_of, prices = _read(TABLE)
    assert as_of is not None
    return as_of, prices


def _read(path: Path) -> tuple[date | None, dict[str, Price]]:
    """The date, if there is one, and the prices of a file."""
    values = read_yaml(path)
    unknown = next((name for name in values if name not in _KEYS), None)
    if unknown is not None:
        raise SettingsError(f"{path}: {unknown} does not belong in a file of prices; {did_you_mean(unknown, _KEYS)}")
    as_of, models = values.get("as_of"), values.get("prices")
    if as_of is not None and type(as_of) is not date:
        raise SettingsError(f"{path}: as_of = {as_of!r}: must be a day such as 2026-09-30")
    if not isinstance(models, dict):
        raise SettingsError(f"{path}: must hold 'backend/NAME: {{prompt: 0.15, reply: 0.60}}' lines under prices:")
    prices: dict[str, Price] = {}
    for model, price in models.items():
        if not isinstance(model, str) or not all(model.partition("/")):
            raise SettingsError(f"{path}: {model} is not the name of a model; write backend/NAME, as in openai/gpt-4o")
        if not isinstance(price, dict):
            raise SettingsError(f"{path}: {model} = {price!r}: must be of the form {{prompt: 0.15, reply: 0.60}}")
        prices[model] = price_from(price, f"{path}: {model}")
    return as_of, prices


def _not_negative(value: object) -> Fraction | None:
    """The number as it was written (YAML makes 0.15 a float, whose shortest form is that text again), or None."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    return Fraction(number) if number.is_finite() and number >= 0 else None
