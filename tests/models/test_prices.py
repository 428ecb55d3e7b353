"""Prices: exact arithmetic, which name has which price, files of one's own, and what a service says."""

from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest

from diotima.errors import SettingsError
from diotima.models.prices import (
    FREE,
    TABLE,
    Price,
    cost,
    dollars,
    micro_dollars,
    openrouter_price,
    price_from,
    price_of,
    prices_as_of,
    read_prices,
)

OWN = price_from({"prompt": 7, "reply": 9}, "here")


def written(folder: Path, text: str) -> Path:
    path = folder / "own.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_price_is_read_as_it_is_written() -> None:
    price = price_from({"prompt": 0.15, "cached": 0.075, "reply": "0.6"}, "here")
    assert price == Price(Fraction(15, 100), Fraction(75, 1000), Fraction(6, 10))
    assert price_from({"prompt": 1, "reply": 2}, "here").cached == 1


def test_a_cost_is_exact_and_rounded_up() -> None:
    price = price_from({"prompt": 0.1, "cached": 0.01, "reply": 0.3}, "here")
    assert cost(price, 10, 0, 10) == 4  # 1 + 3, and not 4.000000000000001 rounded up to 5
    assert cost(price, 11, 0, 10) == 5
    assert cost(price, 1_000, 1_000, 0) == 10
    assert cost(price, 1_000_000_000, 0, 1) == 100_000_001
    assert cost(FREE, 10**9, 0, 10**9) == 0


def test_no_more_can_be_cached_than_was_read() -> None:
    price = price_from({"prompt": 2, "cached": 1, "reply": 0}, "here")
    assert cost(price, 10, 99, 0) == 10
    assert cost(price, 10, -5, 0) == 20


@pytest.mark.parametrize(
    ("micro", "text"),
    [
        (0, "$0.00"),
        (1, "$0.000001"),
        (9_990, "$0.00999"),
        (12_300, "$0.0123"),
        (500_000, "$0.50"),
        (4_987_600, "$4.9876"),
        (12_345_678, "$12.35"),
        (1_234_000_000, "$1,234.00"),
    ],
)
def test_dollars_as_people_read_them(micro: int, text: str) -> None:
    assert dollars(micro) == text


def test_what_a_service_says_it_cost_is_rounded_up() -> None:
    assert micro_dollars(Decimal("0.0000015")) == 2
    assert micro_dollars(Decimal("1.5")) == 1_500_000


def test_a_dated_model_costs_what_it_costs_without_and_no_other_name_is_guessed() -> None:
    mini = price_of("openai/gpt-4o-mini", {})
    assert mini == price_from({"prompt": 0.15, "cached": 0.075, "reply": 0.6}, "here")
    assert price_of("openai/gpt-4o-mini-2024-07-18", {}) == mini
    assert price_of("openai/gpt-4o-2024-05-13", {}) != price_of("openai/gpt-4o", {})
    for unknown in (
        "openai/gpt-4o-audio",
        "openai/gpt-4o-mini-2024",
        "openai/gpt-4",
        "gpt-4o-mini",
        "vllm/gpt-4o-mini",
    ):
        assert price_of(unknown, {}) is None


def test_own_prices_go_before_the_table() -> None:
    assert price_of("openai/gpt-4o-mini", {"openai/gpt-4o-mini": OWN}) == OWN
    assert price_of("lab/model-2026-01-31", {"lab/model": OWN}) == OWN
    assert price_of("openai/gpt-4o", {"openai/gpt-4o-mini": OWN}) != OWN


def test_the_packages_table_is_whole_and_dated() -> None:
    prices = read_prices(TABLE)
    assert {name.partition("/")[0] for name in prices} == {"openai", "gemini"}
    assert all(0 < price.cached <= price.prompt < price.reply for price in prices.values())
    assert prices_as_of().year >= 2026


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    path = written(tmp_path, "prices:\n  lab/org/model: {prompt: 0.2, reply: 1}\n")
    assert read_prices(path) == {"lab/org/model": Price(Fraction(1, 5), Fraction(1, 5), Fraction(1))}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("prices: {lab/m: {prompt: cheap, reply: 1}}", "own.yaml: lab/m.prompt = 'cheap': must be dollars per million"),
        ("prices: {lab/m: {prompt: -1, reply: 1}}", "lab/m.prompt = -1: must be"),
        ("prices: {lab/m: {prompt: .nan, reply: 1}}", "lab/m.prompt = nan: must be"),
        ("prices: {lab/m: {prompt: true, reply: 1}}", "lab/m.prompt = True: must be"),
        ("prices: {lab/m: {prompt: 1}}", "lab/m.reply is missing; give it in dollars per million tokens"),
        ("prices: {lab/m: {prompt: 1, rply: 1}}", "lab/m.rply is not part of a price; did you mean reply?"),
        ("prices: {lab/m: 3}", "lab/m = 3: must be of the form {prompt: 0.15, reply: 0.60}"),
        ("prices: {model: {prompt: 1, reply: 1}}", "model is not the name of a model; write backend/NAME"),
        ("prices: [1]", "must hold 'backend/NAME: {prompt: 0.15, reply: 0.60}' lines under prices:"),
        ("as_of: 2026-01-01\n", "lines under prices:"),
        ("as_of: soon\nprices: {}", "as_of = 'soon': must be a day such as 2026-09-30"),
        ("price: {}", "own.yaml: price does not belong in a file of prices; did you mean prices?"),
        ("prices: {}\nprices: {}", "own.yaml, line 2: the key prices stands here a second time"),
    ],
)
def test_a_mistake_in_a_file_is_one_sentence(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(SettingsError) as raised:
        read_prices(written(tmp_path, text))
    assert expected in str(raised.value)
    assert "\n" not in str(raised.value)


def test_openrouter_tells_its_prices_in_dollars_per_token() -> None:
    told = {"prompt": "0.00000015", "completion": "0.0000006", "input_cache_read": "0.000000075", "request": "0"}
    assert openrouter_price({"id": "openai/gpt-4o-mini", "pricing": told}) == price_of("openai/gpt-4o-mini", {})
    free = openrouter_price({"pricing": {"prompt": "0", "completion": "0"}})
    assert free == FREE
    thinking = openrouter_price({"pricing": {**told, "internal_reasoning": "0.0000035"}})
    assert thinking is not None
    assert thinking.reply == Fraction(35, 10)


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"pricing": None},
        {"pricing": {"prompt": "0.1"}},
        {"pricing": {"prompt": "-1", "completion": "-1"}},
        {"pricing": {"prompt": "x", "completion": "0"}},
        {"pricing": {"prompt": "0.1", "completion": "0.1", "request": "0.005"}},
    ],
)
def test_openrouter_may_not_tell(entry: dict[str, object]) -> None:
    assert openrouter_price(entry) is None
