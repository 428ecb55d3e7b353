"""What a set of pairs was made of: counts, a table for the terminal, and the card that goes with the files.

A preference set teaches whatever tells its two sides apart. So beside the scores stand the lengths: where the chosen
replies are mostly the longer ones, a tutor will learn to be long.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from diotima.corpus.pair_set import COLUMNS, FORMATS, NAME
from diotima.corpus.selection import REASONS, Candidate, Choice
from diotima.problems.list_command import table
from diotima.runs.card import TERMS, UNKNOWN, licence
from diotima.runs.export import features
from diotima.runs.manifest import timestamp
from diotima.runs.status import without_credentials

if TYPE_CHECKING:
    from rich.table import Table

DASH = "\N{EN DASH}"


@dataclass(slots=True)
class Tally:
    """Counts what goes by.

    ``unfit``: candidates with a verdict that were cut off or malformed. ``scores``: how many candidates have which.
    ``judges``: who judged. The sums are over pairs; words are those that the student hears.
    """

    contexts: int = 0
    candidates: int = 0
    valid: int = 0
    unfit: int = 0
    pairs: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    scores: Counter[Fraction] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)
    judges: set[str] = field(default_factory=set)
    chosen_sum: Fraction = Fraction(0)
    rejected_sum: Fraction = Fraction(0)
    chosen_words: int = 0
    rejected_words: int = 0
    chosen_longer: int = 0

    def count(self, candidates: Iterable[Candidate], judges: Iterable[str]) -> None:
        """Count one context with its candidates, and who judged them."""
        self.contexts += 1
        self.judges.update(judges)
        for candidate in candidates:
            self.candidates += 1
            if candidate.value is not None:
                self.valid += 1
                self.unfit += not candidate.fit
                self.scores[candidate.value] += 1

    def keep(self, choice: Choice | str, source: str) -> None:
        """Count a context's pair, or the reason why it gives none."""
        if isinstance(choice, str):
            self.dropped[choice] += 1
            return
        chosen, rejected = (len(one.turn.text.split()) for one in (choice.chosen, choice.rejected))
        self.pairs += 1
        self.sources[source] += 1
        self.chosen_sum += choice.chosen_score
        self.rejected_sum += choice.rejected_score
        self.chosen_words += chosen
        self.rejected_words += rejected
        self.chosen_longer += chosen > rejected

    def figures(self) -> dict[str, Any]:
        """The counts as JSON can hold them; means and shares are None where there is nothing to divide by."""
        return {
            "contexts": self.contexts,
            "candidates": self.candidates,
            "valid": self.valid,
            "validity": self.valid / self.candidates if self.candidates else None,
            "cut_or_malformed": self.unfit,
            "pairs": self.pairs,
            "dropped": {reason: self.dropped[reason] for reason in REASONS if self.dropped[reason]},
            "scores": {str(value): count for value, count in sorted(self.scores.items())},
            "chosen_score": self._mean(self.chosen_sum),
            "rejected_score": self._mean(self.rejected_sum),
            "margin": self._mean(self.chosen_sum - self.rejected_sum),
            "chosen_words": self._mean(self.chosen_words),
            "rejected_words": self._mean(self.rejected_words),
            "chosen_longer": self._mean(self.chosen_longer),
            "sources": dict(sorted(self.sources.items())),
            "judges": sorted(self.judges),
        }

    def _mean(self, total: Fraction | int) -> float | None:
        return float(Fraction(total) / self.pairs) if self.pairs else None


def why_dropped(figures: Mapping[str, Any]) -> str:
    """The contexts without a pair, in words: ``3 in the held-out set, 1 ...``."""
    return ", ".join(f"{count:,} {reason}" for reason, count in figures["dropped"].items())


def figures_table(figures: Mapping[str, Any]) -> "Table":
    """The figures for the terminal."""
    drawn = table("", "", header=False)
    for name, told in _rows(figures):
        drawn.add_row(name, told)
    return drawn


def _rows(figures: Mapping[str, Any]) -> list[tuple[str, str]]:
    validity = figures["validity"]
    valid = f", {figures['valid']:,} of them with a verdict ({validity:.1%})" if validity is not None else ""
    unfit = figures["cut_or_malformed"]
    rows = [
        ("contexts", f"{figures['contexts']:,}"),
        ("candidates", f"{figures['candidates']:,}{valid}{f'; {unfit:,} cut off or malformed' if unfit else ''}"),
        ("scores", ", ".join(f"{value}: {count:,}" for value, count in figures["scores"].items()) or DASH),
        ("pairs", f"{figures['pairs']:,}"),
        *[("", f"{count:,} context{'s' * (count != 1)} {reason}") for reason, count in figures["dropped"].items()],
    ]
    if figures["pairs"]:
        chosen, rejected, margin = (figures[name] for name in ("chosen_score", "rejected_score", "margin"))
        rows += [
            ("mean score", f"{chosen:.3f} chosen, {rejected:.3f} rejected, {margin:.3f} between them"),
            (
                "mean words",
                f"{figures['chosen_words']:.1f} chosen, {figures['rejected_words']:.1f} rejected; "
                f"the chosen reply is the longer one in {figures['chosen_longer']:.1%}",
            ),
        ]
    return rows


def card(name: str, summary: Mapping[str, Any]) -> str:
    """The text of README.md. ``summary``: what summary.json says."""
    figures = "\n".join(f"| {title} | {told} |" for title, told in _rows(summary))
    prompt = summary["prompt"]
    parts = [
        f"---\n{_front_matter(summary)}---",
        f"# {name}\n\n{_what(summary)}",
        f"## How pairs were chosen\n\n{_how(summary)}",
        f"## Figures\n\n| | |\n|---|---|\n{figures}",
        f"## Problems\n\n{_sources(summary['sources'])}",
        f"## The prompt\n\n`{prompt['name']}`, which sees the {prompt['sees']}:\n\n{_quoted(prompt['text'])}",
    ]
    return without_credentials("\n\n".join(parts)) + "\n"


def _front_matter(summary: Mapping[str, Any]) -> str:
    import yaml

    files = {"split": "train", "path": f"{NAME}.{FORMATS[0]}"}
    values: dict[str, Any] = {
        "license": licence(summary["sources"]),
        "tags": ["preference", "dpo", "trl", "tutoring", "education", "synthetic", "diotima"],
        "task_categories": ["text-generation"],
        "configs": [{"config_name": "default", "data_files": [files]}],
        "dataset_info": {"config_name": "default", "features": features(COLUMNS)},
    }
    values = json.loads(json.dumps(values))  # no two columns share a list, or YAML would write it as a reference
    text: str = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
    return text


def _what(summary: Mapping[str, Any]) -> str:
    return (
        f"Made by `diotima pairs` {summary['version']} on {timestamp()}: {summary['pairs']:,} preference pairs, each "
        "of two next turns of a tutor in one conversation with a student. `prompt`, `chosen` and `rejected` are in "
        "TRL's conversational form: the tutor is the assistant, the student the user. A reply is found again in its "
        "run by `chosen_tutor` (its label there), `problem_id` and `chosen_seed`."
    )


def _how(summary: Mapping[str, Any]) -> str:
    margin = f", by {summary['least_margin']} or more" if summary["least_margin"] != "0" else ""
    lines = [
        f"- replies of {', '.join(_named(label, name) for label, name in summary['tutors'].items())}",
        f"- judged by {', '.join(summary['judges'])} under the rubric {summary['rubric']} (fingerprint "
        f"{summary['rubric_fingerprint']}); its measure {summary['measure']} decides",
        f"- of each context the best against the worst, if the best has more than {summary['above']} and more than the "
        f"worst{margin}",
        f"- held out: {', '.join(summary['holdout']) or 'nothing, so a test set may share contexts with it'}",
        *[f"- beware: {caution}" for caution in summary["cautions"]],
    ]
    return "\n".join(lines)


def _named(label: str, name: str) -> str:
    return label if label == name else f"{label} ({name})"


def _sources(sources: Mapping[str, int]) -> str:
    lines = ["| source | pairs | licence | training allowed? |", "|---|---|---|---|"]
    for source, count in sources.items():
        terms = TERMS.get(source)
        name = terms.name if terms else source.replace("|", "/") or "not named"
        told = (terms.told, terms.training) if terms else (UNKNOWN, "look at its own page")
        lines.append(f"| {name} | {count:,} | {' | '.join(told)} |")
    return "\n".join([*lines, "", "What models wrote may be under terms of their own."])


def _quoted(text: str) -> str:
    return "\n".join(f"> {line}".rstrip() for line in text.splitlines())
