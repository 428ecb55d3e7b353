"""`diotima export ollama`: a folder of which Ollama makes a model.

    diotima export ollama runs/grpo/model --out exports/tutor
    diotima export ollama runs/grpo/model --out exports/tutor --problem "What is 3/4 of 20?"
    ollama create tutor -f exports/tutor/Modelfile

The folder holds the GGUF file, the Modelfile, and the tutor's prompt as prompt.md. A tutor's prompt is about one
problem. Given one, the Modelfile has the prompt as its SYSTEM, filled for this problem as in a lesson; without one it
has no SYSTEM, and whoever asks sends the prompt, filled, as the system message of every chat, as `diotima` itself does.
"""

import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import NonNegativeFloat, PositiveInt

from diotima.chat.problem import in_words
from diotima.classroom.casting import Part, TutorSettings, part_of
from diotima.classroom.roles import Sees
from diotima.classroom.thinking import begins
from diotima.delivery.chats import as_tutor, chats
from diotima.delivery.gguf_command import GgufSettings, write_gguf
from diotima.delivery.go_template import can_be_read, go_template
from diotima.delivery.parity import rendered
from diotima.dialogue import Dialogue
from diotima.errors import SettingsError
from diotima.models.folders import model_folder
from diotima.runs.durable import write_text
from diotima.runs.manifest import read_json
from diotima.training.merging import weights_under
from diotima.training.weight_folder import open_folder, whole_folder

if TYPE_CHECKING:
    from diotima.models.template import ChatFormat

MODELFILE, GGUF, PROMPT = "Modelfile", "tutor.gguf", "prompt.md"
EMBEDDED = "0.30.0"
"""Ollama's version from which on the template inside of a GGUF file is rendered."""
LONGEST = 8192


class Settings(GgufSettings):
    """What Ollama is to make a model of."""

    out: Path
    """The folder: a new one, or an empty one."""
    problem: str = ""
    """The problem that the tutor is about, in words; without it the prompt is left to whoever asks."""
    answer: str = ""
    """The answer of the problem, for a tutor that sees it."""
    solution: str = ""
    """The solution of the problem, a step a line, for a tutor that sees it."""
    tutor_prompt: str | None = None
    """The tutor's prompt: a name such as tutor/socratic, or a file; by default the one the model was trained with."""
    tutor_sees: Sees | None = None
    """How much of the problem the prompt may contain: question, answer or solution; by default as in training."""
    temperature: NonNegativeFloat = 1.0
    """Temperature of the replies, 0 is greedy."""
    context: PositiveInt | None = None
    """Tokens that the model can read and write; by default as many as it was made for, 8192 at most."""


def run(settings: Settings) -> dict[str, Any]:
    """Write the folder; returns what is in it.

    Raises SettingsError or PromptError if the prompt cannot be filled, ModelError if the model cannot be converted,
    RunError if something is in the way.
    """
    from diotima.models.local import load_tokenizer
    from diotima.models.template import ChatFormat

    folder, out = model_folder(settings.model), settings.out
    part = part_of(folder, TutorSettings(tutor_prompt=settings.tutor_prompt, tutor_sees=settings.tutor_sees))
    prompt, system = part.load(), system_of(settings, part)
    context = settings.context or min(LONGEST, _made_for(weights_under(open_folder(settings.model)).path))
    tokenizer = load_tokenizer(folder, settings.model)
    opened = tokenizer.bos_token and tokenizer("x")["input_ids"][0] == tokenizer.bos_token_id
    begin = str(tokenizer.bos_token) if opened else ""
    # What a template says about today would be written down for good.
    dated = "strftime_now" in str(tokenizer.chat_template)
    template = None if dated else go_template(lambda messages: rendered(tokenizer, messages), chats(part), begin)
    text = modelfile(
        template, system, _ends(ChatFormat(tokenizer, settings.model)), settings.temperature, context,
        f"{settings.model}, {settings.type}; the tutor's prompt is {part.prompt}, which sees the {part.sees}",
    )  # fmt: skip
    with whole_folder(out) as whole:
        told = write_gguf(settings, whole / GGUF)
        write_text(whole / PROMPT, prompt.text + "\n")
        write_text(whole / MODELFILE, text)
    for note in (*told["notes"], *_notes(template, system, prompt.placeholders, begins(part.thinking))):
        print(f"Note: {note}.")
    print(f"To make the model: ollama create {out.resolve().name} -f {out / MODELFILE}")
    return {**told, "out": str(out), "template": template is not None, "system": bool(system), "context": context}


def modelfile(template: str | None, system: str, ends: list[str], temperature: float, context: int, title: str) -> str:
    """The text of a Modelfile beside its GGUF file. Raises SettingsError for a system message that it cannot hold."""
    if '"""' in system or system.endswith('"'):
        raise SettingsError('the tutor\'s prompt holds """ or ends with ", which a Modelfile cannot say; change it')
    if dropped := next((sign for sign in system if not can_be_read(sign)), None):
        called = f"U+{ord(dropped):04X} ({unicodedata.name(dropped, 'a control character')})"
        raise SettingsError(f"the tutor's prompt holds {called}, which Ollama drops from a Modelfile; change it")
    lines = [f"# {title}.", f"FROM ./{GGUF}"]
    if template is None:
        lines += ["# The chat template is the one inside of the GGUF file.", f"REQUIRES {EMBEDDED}"]
    else:
        lines += [f'TEMPLATE """{template}"""']
    if system:
        lines += [f'SYSTEM """{system}"""']
    # A Modelfile has no escapes: only the first and the last quote count.
    lines += [f'PARAMETER stop "{end}"' for end in ends]
    lines += [f"PARAMETER temperature {temperature:g}", f"PARAMETER num_ctx {context}"]
    # Ollama cuts what is unlikely off a model's distribution unless it is told not to; here nothing does.
    lines += ["PARAMETER top_k 0", "PARAMETER top_p 1", "PARAMETER min_p 0", "PARAMETER repeat_penalty 1"]
    return "\n".join(lines) + "\n"


def system_of(settings: Settings, part: Part) -> str:
    """The tutor's prompt, filled for the problem of the settings; "" where it needs one and there is none."""
    prompt = part.load()
    if not settings.problem.strip():
        return "" if prompt.placeholders - {"name"} else as_tutor(part, Dialogue(in_words("")))[0].content
    problem = in_words(settings.problem, settings.answer, settings.solution)
    known = {"answer": problem.answer, "solution": problem.solution}
    if missing := [name for name, text in known.items() if name in prompt.placeholders and not text]:
        raise SettingsError(
            f"the prompt {prompt.name} uses the {' and the '.join(missing)} of the problem; give "
            f"{' '.join(f'--{name} TEXT' for name in missing)}"
        )
    return as_tutor(part, Dialogue(problem))[0].content


def _notes(template: str | None, system: str, placeholders: frozenset[str], begin: str) -> list[str]:
    notes = []
    if begin:
        notes.append(
            f"every reply of this tutor began with {begin} in lessons, and Ollama does not write that before it"
        )
    if not system:
        uses = ", ".join(f"{{{{{name}}}}}" for name in sorted(placeholders))
        notes.append(
            f"the Modelfile has no SYSTEM, because the tutor's prompt is about one problem ({uses}); send {PROMPT}, "
            "filled, as the system message, or give --problem TEXT"
        )
    if template is None:
        notes.append(
            "the model's chat template does more than Go's language of templates can be shown to do, so Ollama "
            f"{EMBEDDED} or newer has to render the one in the GGUF file; with OLLAMA_GO_TEMPLATE=0 in its environment "
            "it takes no other, even if one it knows is much like it"
        )
    return notes


def _ends(chat_format: "ChatFormat") -> list[str]:
    tokens = (str(chat_format.tokenizer.convert_ids_to_tokens(index)) for index in sorted(chat_format.end_ids))
    return list(tokens)


def _made_for(folder: Path) -> int:
    told = read_json(folder / "config.json").get("max_position_embeddings")
    return told if isinstance(told, int) else LONGEST
