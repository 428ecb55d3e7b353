"""Prompts are text files without logic: load one by name, fill its {{placeholders}} strictly, know its fingerprint.

Filling is one pass: an inserted value is never scanned again, so a student who writes ``{{solution}}`` gets nothing,
and the braces of JSON stay as they are. A missing or a superfluous name is an error, never an empty gap.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from diotima.errors import PromptError, SettingsError

PROMPTS = Path(__file__).parent / "prompts"
_PLACEHOLDER = re.compile(r"\{\{\s*([A-Za-z_]\w*)\s*\}\}")
_FRONT_MATTER = re.compile(r"---\n(.*?\n)?---\n(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt's text and where it came from.

    ``fingerprint``: the first 12 hexadecimal digits of the text's SHA-256; records keep it. ``meta``: the optional
    YAML front matter of the file (a rubric's criteria and scale, for one).
    """

    name: str
    text: str
    fingerprint: str
    meta: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def placeholders(self) -> frozenset[str]:
        """The names that `fill` needs."""
        return frozenset(_PLACEHOLDER.findall(self.text))

    def fill(self, **values: object) -> str:
        """The text with every ``{{name}}`` replaced by its value. Raises PromptError unless the names fit exactly."""
        missing, superfluous = sorted(self.placeholders - set(values)), sorted(set(values) - self.placeholders)
        if missing:
            raise PromptError(f"prompt {self.name}: no value for {', '.join(missing)}")
        if superfluous:
            raise PromptError(f"prompt {self.name}: there is no placeholder for {', '.join(superfluous)}")
        return _PLACEHOLDER.sub(lambda match: str(values[match[1]]), self.text)


def followed_by(first: Prompt, second: Prompt) -> Prompt:
    """One prompt of two, an empty line between them; what the first says of itself stays."""
    text = f"{first.text}\n\n{second.text}"
    return Prompt(f"{first.name} + {second.name}", text, _fingerprint(text), first.meta)


def load_prompt(name: str) -> Prompt:
    """Load a prompt of the package (``tutor/guide`` is ``prompts/tutor/guide.md``) or any text file by its path.

    Raises PromptError if there is no such prompt or its front matter is not valid YAML.
    """
    shipped = PROMPTS / f"{name}.md"
    path = shipped if shipped.is_file() else Path(name)
    try:
        content = path.read_text(encoding="utf-8")
    except (FileNotFoundError, IsADirectoryError):
        raise PromptError(
            f"there is no prompt {name}: it is neither a file nor one of {', '.join(prompt_names()) or 'the package'}"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise PromptError(f"prompt {name} cannot be read ({error})") from None
    matter = _FRONT_MATTER.fullmatch(content)
    text = (matter[2] if matter else content).strip("\n")
    return Prompt(name, text, _fingerprint(text), _read_meta(matter[1] or "", path) if matter else {})


@cache
def shipped_prompt(name: str) -> Prompt:
    """A prompt of the package itself, read once: for what is filled thousands of times."""
    return load_prompt(name)


def prompt_names() -> list[str]:
    """The names of all prompts that come with the package."""
    return sorted(path.relative_to(PROMPTS).with_suffix("").as_posix() for path in PROMPTS.rglob("*.md"))


def _fingerprint(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _read_meta(front_matter: str, path: Path) -> Mapping[str, Any]:
    from diotima.settings import parse_yaml

    try:
        meta = parse_yaml(front_matter, f"{path} (front matter)") or {}
    except SettingsError as error:
        raise PromptError(str(error)) from None
    if not isinstance(meta, dict):
        raise PromptError(f"{path}: the front matter must hold 'key: value' lines")
    return meta
