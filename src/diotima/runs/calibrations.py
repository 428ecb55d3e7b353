"""What is known of judges: every calibration is remembered beyond its run, and found again by rubric and judge.

A calibration belongs to one rubric, word for word, and one judge, weight for weight, for a folder or a server may hold
another model tomorrow. So it lies under the rubric's fingerprint and the judge's in the user's data folder,
``$XDG_DATA_HOME/diotima/calibrations`` or, without that variable, below ``~/.local/share``. Whoever shows a judge's
scores can then say how far this judge is to be trusted. A newer calibration takes an older one's place.
"""

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diotima.errors import RunError
from diotima.runs.manifest import read_json, write_json

FILE = "calibration.json"
"""What a calibration is called in the folder of its run."""
CALIBRATIONS = "calibrations.json"
"""In a run of judgements: what was known of each judge when it was asked, by its name; null where nothing was."""


def remember(calibration: Mapping[str, Any]) -> Path:
    """Keep a calibration, which names its ``rubric_fingerprint``, ``judge`` and ``weights``; returns where.

    Raises RunError if it cannot be written.
    """
    path = _place(calibration["rubric_fingerprint"], calibration["judge"], calibration["weights"])
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, calibration)
    except OSError as error:
        raise RunError(
            f"{path}: {error.strerror}; XDG_DATA_HOME names the folder in which calibrations are remembered"
        ) from None
    return path


def recall(rubric_fingerprint: str, judge: str, weights: str) -> Mapping[str, Any] | None:
    """The latest calibration of this judge under this very rubric, or None. Raises RunError if it cannot be read.

    ``weights``: the fingerprint of the judge's weights, or of what its server says it is; "" where there is none.
    """
    path = _place(rubric_fingerprint, judge, weights)
    return read_json(path) if path.is_file() else None


def calibrations_in(folder: Path) -> Mapping[str, Mapping[str, Any] | None]:
    """What was known of the judges of a run when they were asked, by their names; empty if it does not say."""
    path = folder / CALIBRATIONS
    return read_json(path) if path.is_file() else {}


def _place(rubric_fingerprint: str, judge: str, weights: str) -> Path:
    home = os.environ.get("XDG_DATA_HOME", "")
    data = Path(home) if Path(home).is_absolute() else Path.home() / ".local" / "share"  # as the standard has it
    readable = re.sub(r"[^A-Za-z0-9_.-]+", "-", judge).strip("-.")[:80] or "judge"
    # Names that differ in a stroke only stay apart.
    digest = hashlib.sha256(f"{judge}\n{weights}".encode()).hexdigest()[:8]
    return data / "diotima" / "calibrations" / rubric_fingerprint / f"{readable}-{digest}.json"
