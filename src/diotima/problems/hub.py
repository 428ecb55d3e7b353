"""Rows of a data set of the Hugging Face hub: ``hf:NAME``, ``hf:NAME:CONFIG``, ``hf:NAME@SPLIT``, or with both.

Through ``datasets``, which from version 4 on runs no code of a data set. The hub is asked once before, with a short
limit: left to itself ``datasets`` tries six times to reach a hub that is not there.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from diotima.errors import ProblemFileError
from diotima.problems.rows import Row

HUB = "hf:"
_SOURCE = re.compile(r"hf:(?P<name>\w[\w.-]*(?:/\w[\w.-]*)?)(?::(?P<config>[^:@/\s]+))?(?:@(?P<split>[\w.-]+))?")
_PATIENCE = 10.0  # seconds


def hub_rows(source: str, split: str) -> Iterator[Row]:
    """All rows of ``source``, of its own split or else of ``split``. Raises ProblemFileError.

    Raises ModuleNotFoundError where ``datasets`` is not installed: it comes with ``diotima[data]``.
    """
    found = _SOURCE.fullmatch(source)
    if not found:
        raise ProblemFileError(f"{source} is not of the form hf:NAME, hf:NAME:CONFIG or hf:NAME:CONFIG@SPLIT")
    if Path(found["name"]).exists():
        raise ProblemFileError(
            f"{source}: {found['name']} lies here too, and would be read instead; name it without hf:"
        )
    import datasets

    if not sys.stderr.isatty():
        datasets.disable_progress_bars()
    _reach(source, found["name"])
    try:
        rows = datasets.load_dataset(found["name"], found["config"], split=found["split"] or split)
    except ConnectionError as error:
        raise ProblemFileError(
            f"{source}: not all of it has been fetched before, and the Hugging Face hub does not answer or must not be "
            f"asked (HF_HUB_OFFLINE): {_sentence(error)}"
        ) from None
    except Exception as error:  # its own, the hub's, pyarrow's and the file systems', differing by version
        raise ProblemFileError(f"{source} cannot be read: {_sentence(error)}") from None
    for number, values in enumerate(rows.to_list(), 1):
        yield Row(f"row {number}", values)


def _reach(source: str, name: str) -> None:
    """Ask the hub whether it has the data set, unless it is not to be asked (HF_HUB_OFFLINE=1)."""
    from huggingface_hub import HfApi
    from huggingface_hub.constants import HF_HUB_OFFLINE
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, HFValidationError, RepositoryNotFoundError

    if HF_HUB_OFFLINE:
        return
    try:
        HfApi().dataset_info(name, timeout=_PATIENCE)
    except GatedRepoError:
        raise ProblemFileError(
            f"{source}: {name} wants its terms accepted on its page at the hub, and then: hf auth login"
        ) from None
    except RepositoryNotFoundError:
        raise ProblemFileError(
            f"{source}: the hub has no data set {name}, or a private one; mind the spelling, or log in: hf auth login"
        ) from None
    except (HfHubHTTPError, HFValidationError) as error:
        raise ProblemFileError(f"{source} cannot be read: {_sentence(error)}") from None
    except Exception:  # the errors of whichever HTTP library the hub's client uses
        raise ProblemFileError(
            f"{source}: the Hugging Face hub cannot be reached; check the connection, or set HF_HUB_OFFLINE=1 to read "
            "what was fetched before"
        ) from None


def _sentence(error: Exception) -> str:
    return f"{' '.join(str(error).split())[:300]} ({type(error).__name__})"
