from xml.etree import ElementTree

from diotima.reports.collect import Curve
from diotima.reports.curve_charts import curve_charts, smoothed


def curve(name: str, *values: float) -> Curve:
    return Curve("grpo", name, tuple(enumerate(values, 1)))


def titles(*curves: Curve) -> list[str]:
    return [chart.title for chart in curve_charts(curves)]


def test_the_loss_of_reinforcement_is_no_learning_curve() -> None:
    rising = [curve(name, 0.1, 0.2) for name in ("reward", "leaked", "solved", "solved_sibling", "well_formed", "loss")]
    assert titles(*rising) == ["reward", "leak rate", "problems solved", "well-formed turns"]
    assert titles(curve("loss", 2.0, 1.0), curve("learning_rate", 0.1, 0.2)) == ["loss"]


def test_preference_learning_shows_margin_share_preferred_and_loss() -> None:
    names = ("rewards/margins", "rewards/accuracies", "rewards/chosen", "loss")
    charts = curve_charts([curve(name, 0.0, 0.5) for name in names])
    assert [chart.title for chart in charts] == ["margin between chosen and rejected", "chosen turn preferred", "loss"]
    assert "from 0.0% to 50.0%" in charts[1].alt


def test_each_term_of_the_reward_is_a_line_unless_it_is_switched_off() -> None:
    terms = [curve("rewards/solved/mean", 0.2, 0.4), curve("rewards/length/mean", 0.0, 0.0)]
    (chart,) = curve_charts([*terms, curve("rewards/solved/std", 0.1, 0.3), curve("rewards/rejected/mean", -0.5, -0.1)])
    assert "solved from 0.20 to 0.40; rejected from -0.50 to -0.10." in chart.alt
    shown = list(ElementTree.fromstring(chart.svg).itertext())
    assert {"solved", "rejected"} <= set(shown)
    assert "length" not in shown


def test_what_judges_accepted_is_one_line_a_rule() -> None:
    (chart,) = curve_charts([curve("leak.accepted", 0.25, 0.5), curve("pedagogy.accepted", 1.0, 0.0)])
    assert "leak from 25.0% to 50.0%; pedagogy from 100.0% to 0.0%." in chart.alt


def test_what_went_wrong_is_shown_where_it_did() -> None:
    assert titles(curve("reward/missing", 0.0, 0.0), curve("penalty", 1.0, 1.0)) == []
    assert titles(curve("reward/missing", 0.0, 0.125), curve("penalty", 0.25, 1.0)) == [
        "lessons without a reward",
        "penalty of a rejected lesson",
    ]


def test_drift_is_shown_in_orders_of_magnitude_unless_there_was_none() -> None:
    (chart,) = curve_charts([curve("drift/mean", 5e-7, 5e-6), curve("drift/max", 1e-5, 1e-3)])
    assert "mean from 5.0e-07 to 5.0e-06; largest from 1.0e-05 to 1.0e-03." in chart.alt
    assert titles(curve("drift/mean", 0.0, 0.0), curve("drift/max", 0.0, 0.0)) == ["drift of log-probabilities (nats)"]


def test_only_where_means_are_drawn_they_are_told() -> None:
    few, many = ([curve(name, *map(float, range(1, steps + 1))) for name in ("reward", "penalty")] for steps in (3, 20))
    assert [chart.alt for chart in curve_charts(few)] == [
        "reward over 3 steps of grpo: reward from 1.00 to 3.00.",
        "penalty of a rejected lesson over 3 steps of grpo: penalty of a rejected lesson from 1.00 to 3.00.",
    ]
    reward, penalty = curve_charts(many)
    assert reward.alt.startswith("reward over 20 steps of grpo, means over 10 steps: reward from")
    assert penalty.alt.startswith("penalty of a rejected lesson over 20 steps of grpo: penalty")


def test_smoothing_is_the_mean_around_each_step() -> None:
    assert smoothed([0.0, 0.0, 3.0, 3.0, 3.0], window=2) == [0.0, 0.0, 1.5, 3.0, 3.0]
    assert smoothed([5.0]) == [5.0]
