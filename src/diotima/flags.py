"""The flags of one command, made from the fields of its Settings.

Every field becomes ``--field`` with its docstring as help; nested settings become ``--group.field``. Only what was
given is returned, so a file of settings can lie beneath it. Every command also knows ``--json`` and, unless its
Settings have a field of that name, ``--recipe FILE`` for such a file.
"""

import inspect
import typing
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Annotated, Any

import pydantic
from cyclopts import App, Parameter
from cyclopts.exceptions import CycloptsError
from pydantic.fields import FieldInfo

from diotima.errors import SettingsError
from diotima.settings import nested_settings, parse_yaml


@dataclass(frozen=True, slots=True)
class Flags:
    """What the words said: dotted settings and their values, a file of settings, and whether to print JSON."""

    values: dict[str, Any]
    recipe: Path | None
    json: bool


def parse_flags(
    name: str,
    help_text: str,
    cls: type[pydantic.BaseModel],
    positional: str,
    without: AbstractSet[str],
    words: Sequence[str],
) -> Flags | None:
    """Read the words after a command, or print its help and return None. Raises SettingsError.

    ``positional``: what may be given without its flag, in this order. ``without``: fields that are no flags.
    """
    fields = {key: info for key, info in _fields(cls) if key not in {"json", *without}}
    has_recipe = "recipe" in cls.model_fields
    parameters = [_parameter(key, info, positional) for key, info in fields.items()]
    if not has_recipe:
        parameters.append(
            _own("recipe", Path | None, None, "A YAML file of these settings; flags go over it.", positional)
        )
    parameters.append(
        _own("json", bool, False, "Print one JSON object on standard output, and nothing else there.", "")
    )
    app = App(name=name, help=help_text, version_flags=[])
    app.default(_with_signature(parameters))
    try:
        function, bound, _ = app.parse_args(list(words), exit_on_error=False, print_error=False)
    except CycloptsError as error:
        raise SettingsError(f"{' '.join(str(error).split())} See {name} --help") from None
    if function == app.help_print:
        app.help_print()
        return None
    given = {key.replace(_DOT, "."): value for key, value in bound.arguments.items()}
    json = given.pop("json", False)
    recipe = None if has_recipe else given.pop("recipe", None)
    return Flags({key: _plain(fields[key], value) for key, value in given.items()}, recipe, json)


_DOT = "__"


def _fields(cls: type[pydantic.BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    for name, info in cls.model_fields.items():
        inner = nested_settings(info.annotation)
        if inner is not None and typing.get_origin(info.annotation) not in (tuple, list, dict):
            yield from _fields(inner, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", info


def _parameter(key: str, info: FieldInfo, positional: str) -> inspect.Parameter:
    default = None if info.is_required() else info.get_default(call_default_factory=True)
    annotation = Any if info.annotation is None else _bare(info.annotation)
    text = info.description or ""
    if _is_structured(annotation):
        return _own(key, str | None, None, f"{text} (as YAML)", positional)
    return _own(key, annotation if default is not None else annotation | None, default, text, positional)


def _own(key: str, annotation: Any, default: Any, text: str, positional: str) -> inspect.Parameter:
    single = key in positional.split()
    negative = None if isinstance(default, bool) and default else ()
    parameter = Parameter(
        name=[f"--{key.replace('_', '-')}", *(["-o"] if key == "out" else [])],
        help=text,
        negative=negative,
        show_default=_listed
        if isinstance(default, tuple) and default
        else bool(default) or type(default) in (int, float),
    )
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD if single else inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(key.replace(".", _DOT), kind, default=default, annotation=Annotated[annotation, parameter])


def _listed(values: tuple[Any, ...]) -> str:
    return ", ".join(map(str, values))


def _with_signature(parameters: Sequence[inspect.Parameter]) -> Any:
    def command(**values: Any) -> None:
        del values

    ordered = sorted(parameters, key=lambda parameter: parameter.kind)
    command.__signature__ = inspect.Signature(ordered)  # type: ignore[attr-defined]
    return command


def _is_structured(annotation: Any) -> bool:
    inner = typing.get_args(annotation)
    if typing.get_origin(annotation) in (tuple, list, dict):
        return any(
            nested_settings(part) or (typing.get_args(part) and typing.get_origin(part) is not typing.Literal)
            for part in inner
        )
    return any(_is_structured(part) for part in inner)


def _bare(annotation: Any) -> Any:
    """A type without its constraints: these are checked, and told, together with those of a file."""
    if typing.get_origin(annotation) is Annotated:
        return _bare(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (typing.Union, UnionType):
        return typing.Union[tuple(map(_bare, typing.get_args(annotation)))]  # noqa: UP007
    return annotation


def _plain(info: FieldInfo, value: Any) -> Any:
    if isinstance(value, str) and _is_structured(info.annotation):
        return parse_yaml(value, "the command line")
    if isinstance(value, dict):
        return {key: parse_yaml(item, key) if isinstance(item, str) else item for key, item in value.items()}
    return value
