"""The leak meter against people, on MRBench; see `benchmarks/leak_meter.py`, whose figures the documentation quotes."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data" / "mrbench" / "MRBench_V2.json"


@pytest.mark.skipif(not DATA.is_file(), reason=f"needs MRBench V2, which is not shipped: {DATA} is not there")
def test_meter_agrees_with_people_better_than_naive_rules():
    specification = importlib.util.spec_from_file_location("leak_meter", ROOT / "benchmarks" / "leak_meter.py")
    benchmark = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(benchmark)
    replies = benchmark.read_replies(DATA)

    def agreement(rule):
        said, gold = [rule(reply) for reply in replies], [benchmark.correct(reply) for reply in replies]
        hits = sum(a and b for a, b in zip(said, gold, strict=True))
        return benchmark.f1([hits, sum(said), sum(gold)])

    assert len(replies) == 1160
    assert agreement(benchmark.meter) == pytest.approx(0.82, abs=0.01)
    assert agreement(benchmark.value_anywhere) == pytest.approx(0.64, abs=0.01)
    assert agreement(benchmark.new_value_anywhere) == pytest.approx(0.60, abs=0.01)
