"""What a run's folder says about itself: which stage, with which settings, made by which versions, when.

A run is continued only with the settings it was begun with; a difference is shown field by field.
"""

import hashlib
import json
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import diotima
from diotima.errors import RunError
from diotima.runs.durable import write_text

FILE = "manifest.json"
FORKED = ("teach", "evaluate")  # stages that take --fork
_LIBRARIES = ("apsw", "numpy", "scipy", "torch", "transformers", "trl", "peft")


def new_manifest(stage: str, settings: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """The manifest of a run that starts now."""
    plain = as_json(settings)
    return {
        "stage": stage,
        "settings": plain,
        "seed": seed,
        "fingerprint": fingerprint({"stage": stage, "settings": plain, "seed": seed}),
        "versions": versions(),
        "commit": source_commit(),
        "started": timestamp(),
        "finished": None,
    }


def refuse_changes(folder: Path, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Raise RunError, naming every field that differs, unless both manifests mean the same run."""
    if before["fingerprint"] == after["fingerprint"]:
        return
    if before["stage"] != after["stage"]:
        raise RunError(f"{folder} is a run of {before['stage']}, not of {after['stage']}: choose another folder")
    keys = ("seed", "settings")
    changes = differences({key: before[key] for key in keys}, {key: after[key] for key in keys})
    fork = f" (with --fork {folder} what is still the same is not asked again)" if after["stage"] in FORKED else ""
    raise RunError(
        f"{folder} was begun with other settings ({'; '.join(changes)}): "
        f"choose another folder{fork}, or remove this one"
    )


def fingerprint(values: Mapping[str, Any]) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of the values as canonical JSON, without any ``out``.

    Where a run lies is not part of what it is: a folder may be moved.
    """
    text = json.dumps(_without_out(as_json(values)), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Every field in which two mappings differ, as ``key: old -> new``; nested keys are dotted."""
    old, new = _flat(_without_out(as_json(before))), _flat(_without_out(as_json(after)))
    absent = object()
    return [
        f"{key}: {_shown(old, key)} -> {_shown(new, key)}"
        for key in sorted({*old, *new})
        if old.get(key, absent) != new.get(key, absent)
    ]


def versions() -> dict[str, str]:
    """The versions of Python, diotima and the libraries that shape a result, as far as installed."""
    found = {"python": platform.python_version(), "diotima": diotima.__version__}
    for name in _LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def source_commit() -> str | None:
    """The git commit of diotima's own source tree (with ``+`` if it has been changed since), None outside of one."""
    root = Path(__file__).parents[3]
    if not (root / ".git").exists():
        return None
    git = ["git", "-C", str(root)]
    try:
        commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
        state = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit.stdout.strip() + ("+" if state.stdout.strip() else "")


def timestamp() -> str:
    """Now, in UTC, to the second, as ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def as_json(values: Any) -> Any:
    """The values as JSON would give them back: tuples become lists, paths and the like text."""
    return json.loads(json.dumps(values, default=str))


def read_json(path: Path) -> dict[str, Any]:
    """Read one of a run's own JSON files. Raises RunError if it is not readable."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{path} cannot be read ({error})") from None
    if not isinstance(values, dict):
        raise RunError(f"{path} does not hold a JSON object")
    return values


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write a JSON file so that it is there whole or not at all, even after a crash."""
    write_text(path, json.dumps(values, indent=2, ensure_ascii=False) + "\n")


def _without_out(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _without_out(value) if isinstance(value, Mapping) else value
        for key, value in values.items()
        if key != "out"
    }


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) and value else {f"{prefix}{key}": value}
    return flat


def _shown(values: Mapping[str, Any], key: str) -> str:
    return json.dumps(values[key], ensure_ascii=False) if key in values else "(not set)"
