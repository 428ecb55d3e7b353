"""The card of an exported run: what is in it, how it was made, where its problems come from and what they allow.

Its front matter is what the Hugging Face hub and ``datasets`` read: which files belong together, and the type of every
column, so that nothing is guessed from the first rows.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diotima.runs.export import Tally, features
from diotima.runs.status import Status, without_credentials

MARK = "Made by `diotima runs export`"


@dataclass(frozen=True, slots=True)
class Terms:
    """Under which licence a set's problems are (an id of the hub), and whether training on them is allowed."""

    name: str
    licence: str
    told: str
    training: str


# As DATA.md has them; the keys are what readers of problems write as their source.
TERMS = {
    "sandbox": Terms("the sandbox's word problems", "apache-2.0", "Apache-2.0", "yes"),
    "gsm8k": Terms("GSM8K", "mit", "MIT", "train: yes; test: keep it for tests"),
    "math": Terms("MATH", "mit", "MIT", "no, if they are of MATH-500 or another part of MATH's test set"),
    "stepverify": Terms("StepVerify", "cc-by-4.0", "CC BY 4.0", "yes, with attribution"),
    "mathdial": Terms("MathDial", "cc-by-sa-4.0", "CC BY-SA 4.0", "what is made of it might have to be shared alike"),
}
UNKNOWN = "unknown"
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


@dataclass(frozen=True, slots=True)
class Contents:
    """What was exported. ``rows`` of each table, the file ``datasets`` is to read of each, and its columns.

    ``snapshot``: whether the run was being written at that time. ``exported``: when.
    """

    rows: Mapping[str, int]
    files: Mapping[str, str]
    columns: Mapping[str, Mapping[str, str]]
    counted: Tally
    exported: str
    snapshot: bool


def card(folder: Path, status: Status, contents: Contents) -> str:
    """The text of README.md."""
    parts = [
        f"---\n{_front_matter(contents)}---",
        f"# {folder.resolve().name}\n\n{MARK} {status.manifest.versions.get('diotima', '')} on {contents.exported}."
        f" {_counts(status, contents)}",
        f"## Problems\n\n{_sources(contents.counted.sources)}",
        f"## How it was made\n\n{_making(status)}",
        f"## Scores\n\n{_scores(contents.counted.scores)}",
    ]
    return without_credentials("\n\n".join(parts)) + "\n"


def licence(sources: Iterable[str]) -> str:
    """The licence that all problems share, or ``other``, or ``unknown`` where one is not known."""
    known = {TERMS[source].licence if source in TERMS else UNKNOWN for source in sources}
    if not known or UNKNOWN in known:
        return UNKNOWN
    return known.pop() if len(known) == 1 else "other"


def _front_matter(contents: Contents) -> str:
    import yaml

    rows = contents.rows["dialogues"]
    values: dict[str, Any] = {
        "license": licence(contents.counted.sources),
        "tags": ["tutoring", "education", "dialogue", "synthetic", "diotima"],
        "task_categories": ["text-generation"],
        "size_categories": [next((size for most, size in _SIZES if rows < most), "n>1M")],
        "configs": [
            {"config_name": name, "data_files": file} | ({"default": True} if name == "dialogues" else {})
            for name, file in contents.files.items()
        ],
        "dataset_info": [
            {"config_name": name, "features": features(contents.columns[name])} for name in contents.files
        ],
    }
    if contents.counted.sources and set(contents.counted.sources) <= set(TERMS):
        values = {"language": ["en"]} | values  # all of these are; of other sets it is not known
    text: str = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
    return text


def _counts(status: Status, contents: Contents) -> str:
    beside = {"judgements": "judgements", "calls": "calls to endpoints"}
    held_too = [f"{contents.rows[name]:,} {what}" for name, what in beside.items() if contents.rows.get(name)]
    lessons = " and ".join([f"It holds {contents.rows['dialogues']:,} lessons", *held_too])
    held = ", ".join(f"{label or 'no label'} {count:,}" for label, count in contents.counted.labels.items())
    parts = [f"{lessons}; by tutor: {held or 'none'}."]
    if contents.snapshot:
        parts.append("The run was being written at that time: this is a snapshot, and more lessons may have followed.")
    elif not status.manifest.finished:
        parts.append("The run was not finished: lessons are missing.")
    parts.append(
        "In `messages` the tutor is the assistant and the student the user; `thoughts` go with them one by one."
    )
    return "\n".join(parts)


def _sources(sources: Mapping[str, int]) -> str:
    lines = ["| source | lessons | licence | training allowed? |", "|---|---|---|---|"]
    for source, count in sorted(sources.items(), key=lambda item: -item[1]):
        terms = TERMS.get(source)
        told = (
            (terms.name, terms.told, terms.training)
            if terms
            else (source or "not named", UNKNOWN, "look at its own page")
        )
        lines.append(f"| {_cell(told[0])} | {count:,} | {told[1]} | {told[2]} |")
    lines += ["", "What models wrote may be under terms of their own: look at those of the models below."]
    return "\n".join(lines)


def _making(status: Status) -> str:
    manifest = status.manifest
    tutors = [f"{label} ({name})" if label != name else name for label, name in manifest.tutors.items()]
    lines = [
        f"- stage: {manifest.stage}, begun {manifest.begun}, finished {manifest.finished or 'not yet'}",
        f"- tutors: {', '.join(tutors) or ', '.join(status.lessons)}",
        f"- student: {manifest.settings.get('student', 'not named')}",
    ]
    for model, books in status.by_model.items():
        lines.append(
            f"- {books.calls:,} calls to {model}: {books.prompt_tokens:,} tokens in, {books.reply_tokens:,} out"
        )
    made_with = ", ".join(f"{name} {version}" for name, version in manifest.versions.items())
    lines.append(f"- made with {made_with}, commit {manifest.commit or 'not known'}, seed {manifest.seed}")
    settings = json.dumps(manifest.settings, indent=2, ensure_ascii=False)
    return "\n".join([*lines, "", "Settings:", "", "```json", settings.replace("```", "'''"), "```"])


def _scores(scores: Mapping[str, Mapping[str, int]]) -> str:
    if not scores:
        return "There are no scores."
    lines = ["A score that is missing has a state and a reason, and never a value.", ""]
    lines += ["| score | valid | invalid | refused | error |", "|---|---|---|---|---|"]
    for name, states in sorted(scores.items()):
        counts = " | ".join(f"{states.get(state, 0):,}" for state in ("valid", "invalid", "refused", "error"))
        lines.append(f"| {_cell(name)} | {counts} |")
    return "\n".join(lines)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "/").split())
