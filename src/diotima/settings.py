"""Settings: YAML and overrides in, one validated frozen value out.

Every stage keeps its own ``Settings`` beside its ``run``; a recipe, the command line and a notebook fill the same
class, so there is no second copy of any default. One sentence under each field says what it means, and is its help
text. What is wrong is told in one sentence that names the file, the key and the nearest valid name.

A secret is never a setting: a setting holds the *name* of an environment variable.
"""

import difflib
import re
import typing
from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

import pydantic
import yaml

from diotima.errors import SettingsError


def as_tuple(value: object) -> object:
    """One text, and one number, stands for a tuple of one."""
    if isinstance(value, int | float):
        return (value,)
    return (str(value),) if isinstance(value, str | Path) else value


OneOrMore = Annotated[tuple[str, ...], pydantic.BeforeValidator(as_tuple)]
OneOrMoreNumbers = Annotated[tuple[float, ...], pydantic.BeforeValidator(as_tuple)]


class Settings(pydantic.BaseModel):
    """The base of every stage's settings: frozen, and unknown keys are refused.

    ``obvious_input`` names the setting that ``from: STAGE`` in a recipe fills, where a stage has such a one.
    """

    model_config = pydantic.ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, protected_namespaces=(), populate_by_name=True
    )
    obvious_input: ClassVar[str] = ""


AnySettings = TypeVar("AnySettings", bound=Settings)


def load_settings(
    cls: type[AnySettings],
    path: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    where: str = "the command line",
) -> AnySettings:
    """Read ``path`` (YAML, optional), lay ``overrides`` over it and validate.

    Keys of ``overrides`` may be dotted (``sampling.temperature``). ``where`` names their origin in messages.
    Raises SettingsError with one sentence for the first few things that are wrong.
    """
    values = {} if path is None else read_yaml(path)
    overridden = overrides or {}
    for key, value in overridden.items():
        set_key(values, key, value, where)
    try:
        return cls.model_validate(values)
    except pydantic.ValidationError as error:
        roots = {key.split(".")[0] for key in overridden}
        problems = [
            f"{where if path is None or str(item['loc'][:1] and item['loc'][0]) in roots else path}: "
            + _explain(cls, item)
            for item in error.errors(include_url=False)
        ]
        raise SettingsError("; ".join(problems[:3])) from None


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a file that holds one mapping. Raises SettingsError if it is absent, torn or has a key twice."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SettingsError(f"{path}: there is no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: cannot be read ({error})") from None
    values = parse_yaml(text, str(path))
    if values is None:
        return {}
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise SettingsError(f"{path}: must hold settings as 'key: value' lines, not a {type(values).__name__}")
    return values


def parse_yaml(text: str, where: str) -> Any:
    """Parse one YAML document; ``where`` names it in messages. A key that stands twice is refused."""
    try:
        return yaml.load(text, Loader=_StrictLoader)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise SettingsError(f"{where}{line}: {error.problem or error.context}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise SettingsError(f"{where}: {' '.join(str(error).split())}") from None


def parse_override(text: str) -> tuple[str, Any]:
    """Split ``key.sub=value``; the value is read as YAML, as it would be in a file."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise SettingsError(f"{text!r} is not of the form key=value")
    return key.strip(), parse_yaml(value, key.strip())


def set_key(values: dict[str, Any], key: str, value: Any, where: str) -> None:
    """Set a dotted key in nested mappings, in place; the mappings on the way are copied, never shared."""
    *parents, last = key.split(".")
    for name in parents:
        inner = values.get(name) or {}
        if not isinstance(inner, dict):
            raise SettingsError(f"{where}: {key} cannot be set because {name} is not a group of settings")
        copy = dict(inner)
        values[name] = copy
        values = copy
    values[last] = value


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """The end of a sentence about an unknown name: the nearest valid one, or all of them."""
    known = sorted(names)
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {nearest[0]}?" if nearest else f"known are: {', '.join(known) or 'none'}"


def nested_settings(annotation: Any) -> type[pydantic.BaseModel] | None:
    """The model behind ``Model`` or ``Model | None``, or None for any other annotation."""
    for candidate in (annotation, *typing.get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, pydantic.BaseModel):
            return candidate
    return None


def _explain(cls: type[pydantic.BaseModel], item: Any) -> str:
    key = ".".join(map(str, item["loc"]))
    if item["type"] == "extra_forbidden":
        name = str(item["loc"][-1])
        return f"{key} is not a setting; {did_you_mean(name, _names_beside(cls, item['loc']))}"
    if item["type"] == "missing":
        return f"{key} is missing and has no default"
    if item["loc"][0] == "endpoints" and not isinstance(item["input"], int | float):
        return (
            f"{key}: {item['msg'].removeprefix('Value error, ')}"  # whoever took it for a place for keys is not quoted
        )
    value = repr(item["input"])
    shown = value if len(value) <= 60 else value[:57] + "..."
    message = item["msg"].removeprefix("Value error, ")
    return f"{key} = {shown}: {message}" if key else message


def _names_beside(cls: type[pydantic.BaseModel], location: tuple[int | str, ...]) -> list[str]:
    model = cls
    for name in location[:-1]:
        field = model.model_fields.get(str(name))
        model = (field and nested_settings(field.annotation)) or model
    return list(model.model_fields)


class _StrictLoader(yaml.SafeLoader):
    """YAML's safe subset; a duplicate key is an error, and 1e-4 is a number as in YAML 1.2."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        scalars = [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for key in scalars:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value} stands here a second time", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)
