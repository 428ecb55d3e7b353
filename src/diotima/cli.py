"""The command line: one table of commands, each a module with ``Settings`` and ``run(settings) -> Path | None``.

Nothing is imported before a command is chosen, so help is instant. A command's flags are the fields of its Settings,
read by cyclopts; values then take the same way as a recipe's: `load_settings` validates them. What a person can mend
is told in one sentence on standard error and exits with 2; an interrupt exits with 130 and says how to go on.
"""

import contextlib
import errno
import json
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import diotima
from diotima.errors import DiotimaError, SettingsError, Terminated


@dataclass(frozen=True, slots=True)
class Command:
    """``module`` holds Settings and run; ``positional``: the settings that need no flag; ``fixed`` are no flags.

    The positional ``recipe`` is a file of settings where Settings have no such field.
    """

    module: str
    summary: str
    example: str
    positional: str = "recipe"
    fixed: Mapping[str, Any] = field(default_factory=dict)


RECIPE = "diotima.recipe"

COMMANDS = {
    "demo": Command(
        RECIPE,
        "Teach a tiny tutor to teach, examine it before and after, and write the report.",
        "diotima demo --out runs/demo",
        fixed={"recipe": "demo"},
    ),
    "run": Command(
        RECIPE, "Play a recipe of several stages.", "diotima run recipes/demo.yaml --out runs/demo --seed 1"
    ),
    "teach": Command(
        "diotima.classroom.teach",
        "Hold lessons with a tutor and a simulated student, and keep them with their scores.",
        "diotima teach --tutor tiny --problems problems --out runs/lessons",
    ),
    "evaluate": Command(
        "diotima.benchmarks.evaluate",
        "Examine tutors: what their students learned, and what they gave away.",
        "diotima evaluate --tutor tiny --tutor scripted/guide --problems problems --out runs/examination",
    ),
    "compare": Command(
        "diotima.benchmarks.compare",
        "Compare runs: is the tutor of one better than that of another?",
        "diotima compare runs/before runs/after",
        positional="runs",
    ),
    "score": Command(
        "diotima.benchmarks.score",
        "Measure lessons that were held before, again or by another student.",
        "diotima score runs/lessons --measures leak --out runs/leaks",
        positional="run",
    ),
    "tally": Command(
        "diotima.benchmarks.tally",
        "Add up stored judgements again: weighted otherwise, combined otherwise, compared; no model is asked.",
        "diotima tally runs/judged --rubric euler --weights '{helpful: 1/2, questions: 1/2}'",
        positional="runs",
    ),
    "calibrate": Command(
        "diotima.benchmarks.calibrate",
        "Say how far a judge can be trusted: against people, trivial raters, itself and attacks.",
        "diotima calibrate --rubric euler --judge openai/gpt-4o --human human_eval.json --out runs/trust",
    ),
    "contexts": Command(
        "diotima.corpus.contexts",
        "Gather places where a tutor has to say something, from data sets and lessons.",
        "diotima contexts mathdial_train.json mathdial_test.json --out runs/contexts",
        positional="sources",
    ),
    "candidates": Command(
        "diotima.corpus.candidates",
        "Have tutors reply several times in each context.",
        "diotima candidates runs/contexts --tutor tiny --out runs/candidates",
        positional="contexts",
    ),
    "pairs": Command(
        "diotima.corpus.pairs",
        "Make preference pairs of judged candidates.",
        "diotima pairs runs/judged --rubric euler --out runs/pairs",
        positional="run",
    ),
    "chat": Command(
        "diotima.chat.command",
        "Talk to a tutor as its student.",
        "diotima chat --tutor tiny --problems problems --problem 1",
        positional="problem",
    ),
    "train sft": Command(
        "diotima.training.sft",
        "Train a tutor to imitate dialogues, with loss on the tutor's turns only.",
        "diotima train sft --model tiny --lessons runs/lessons --out runs/sft",
    ),
    "train grpo": Command(
        "diotima.training.grpo",
        "Train a tutor by multi-turn GRPO in the classroom.",
        "diotima train grpo --model tiny --problems problems --out runs/grpo --trl.max_steps 40",
    ),
    "train dpo": Command(
        "diotima.training.dpo",
        "Train a tutor on pairs of a better and a worse turn.",
        "diotima train dpo --model tiny --pairs runs/pairs --out runs/dpo",
    ),
    "export gguf": Command(
        "diotima.delivery.gguf_command",
        "Write a tutor as a GGUF file, which llama.cpp, Ollama and others serve.",
        "diotima export gguf runs/grpo/model --out tutor.gguf --type q8_0",
        positional="model",
    ),
    "export ollama": Command(
        "diotima.delivery.ollama_command",
        "Write a folder of which Ollama makes a model: GGUF file, chat template, the tutor's prompt.",
        "diotima export ollama runs/grpo/model --out exports/tutor",
        positional="model",
    ),
    "export check": Command(
        "diotima.delivery.check_command",
        "Compare a served tutor with the model it was made of: text, tokens and greedy replies.",
        "diotima export check runs/grpo/model --gguf tutor.gguf",
        positional="model",
    ),
    "export hub": Command(
        "diotima.delivery.hub_command",
        "Write a tutor's model card, and upload both to the Hugging Face hub.",
        "diotima export hub runs/grpo/model --name ORG/NAME --scores runs/after --dry-run",
        positional="model",
    ),
    "weights diff": Command(
        "diotima.training.weights_diff_command",
        "Write what tuning changed in a model's weights, to be published without its base.",
        "diotima weights diff tiny runs/sft/model -o tutor-diff",
        positional="base tuned",
    ),
    "weights recover": Command(
        "diotima.training.weights_recover_command",
        "Put a tuned model together again, from its base and the difference.",
        "diotima weights recover tiny tutor-diff -o tutor",
        positional="base diff",
    ),
    "weights merge": Command(
        "diotima.training.weights_merge_command",
        "Put a LoRA into the weights of its base.",
        "diotima weights merge runs/sft/model -o tutor",
        positional="adapter",
    ),
    "train plan": Command(
        "diotima.training.plan_command",
        "Say how much memory a training takes on each GPU, and on which it fits; no weights are read.",
        "diotima train plan recipes/pedagogical-rl.yaml --gpus 4",
    ),
    "report": Command(
        "diotima.reports.report",
        "Write one self-contained HTML page about a run.",
        "diotima report runs/demo",
        positional="run",
    ),
    "models check": Command(
        "diotima.models.check_command",
        "Show what a model's server really honours of what it is asked, and what it ignores.",
        "diotima models check vllm/Qwen/Qwen2.5-7B-Instruct",
        positional="model",
    ),
    "sandbox problems": Command(
        "diotima.sandbox.export",
        "Write word problems of the sandbox, with steps and siblings, to a file.",
        "diotima sandbox problems --out problems",
    ),
    "sandbox pretrain": Command(
        "diotima.sandbox.pretrain",
        "Make the tiny tutor's weights again.",
        "diotima sandbox pretrain --out runs/tiny",
    ),
    "problems list": Command(
        "diotima.problems.list_command",
        "Say what a set of problems holds: steps, siblings, kinds of answers.",
        "diotima problems list problems/test.jsonl",
        positional="problems",
    ),
    "problems show": Command(
        "diotima.problems.show_command",
        "Show one problem with its steps, and its sibling beside it.",
        "diotima problems show problems/test.jsonl --problem 7",
        positional="problems",
    ),
    "problems filter": Command(
        "diotima.classroom.filter_command",
        "Keep the problems that a student solves sometimes, or that have steps or siblings.",
        "diotima problems filter problems/test.jsonl --solve-rate 0.01-0.60 --student learner --out band.jsonl",
        positional="problems",
    ),
    "runs list": Command(
        "diotima.runs.list_command",
        "List the runs in a folder, the newest first, with their lessons, calls and cost.",
        "diotima runs list runs",
        positional="folder",
    ),
    "runs show": Command(
        "diotima.runs.show_command",
        "Show how a run stands, also while it is being written, or one of its lessons.",
        "diotima runs show runs/lessons --follow",
        positional="run",
    ),
    "runs check": Command(
        "diotima.runs.check_command",
        "Check that runs are whole and that their books add up.",
        "diotima runs check runs/lessons",
        positional="runs",
    ),
    "runs export": Command(
        "diotima.runs.export_command",
        "Export a run as a data set with a card: Parquet and JSON lines.",
        "diotima runs export runs/lessons --out exports/lessons",
        positional="run",
    ),
    "runs rm": Command(
        "diotima.runs.remove_command",
        "Remove a run, and nothing else that lies in its folder.",
        "diotima runs rm runs/lessons",
        positional="run",
    ),
    "learner read": Command(
        "diotima.classroom.reading_command",
        "Show what the simulated learner reads in a tutor's turn, and how its mastery moves.",
        "diotima learner read 'Look at step 2.'",
        positional="text",
    ),
}


def stages() -> dict[str, str]:
    """Every command that may be a recipe's stage, with its module."""
    return {name: command.module for name, command in COMMANDS.items() if command.module != RECIPE}


def main(words: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code: 0, 2 (to be mended), 130 or 143 (stopped), 141 (output not wanted)."""
    words = list(sys.argv[1:] if words is None else words)
    try:
        code = _dispatch(words)
        sys.stdout.flush()  # here, where a pipe that is closed already is caught
        return code
    except DiotimaError as error:
        return _complain(str(error), 2)
    except ModuleNotFoundError as error:
        extra = next((extra for extra, modules in _EXTRAS.items() if error.name in modules), None)
        if extra is None:
            raise
        return _complain(f"this needs {error.name}: pip install 'diotima[{extra}]'", 2)
    except KeyboardInterrupt as stop:
        again = shlex.join(["diotima", *(word for word in words if word != "--fresh")])
        return _complain(
            f"stopped; what is finished is kept, go on with: {again}", 143 if isinstance(stop, Terminated) else 130
        )
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        if error.errno not in _MENDABLE:
            raise
        place = f"{error.filename}: " if error.filename else ""
        remedy = "make room" if error.errno in _FULL else "choose another place"
        return _complain(f"{place}{error.strerror}; what was written before is kept, {remedy} and try again", 2)


_EXTRAS = {
    "data": {"datasets", "huggingface_hub", "pyarrow"},
    "train": {"accelerate", "peft", "safetensors", "tokenizers", "torch", "transformers", "trl"},
}
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_MENDABLE = _FULL | {errno.EACCES, errno.EPERM, errno.EROFS, errno.EEXIST, errno.ENOTDIR, errno.EISDIR}


def _dispatch(words: list[str]) -> int:
    if words in (["--version"], ["-V"]):
        print(diotima.__version__)
        return 0
    name = next((n for n in COMMANDS if words[: len(n.split())] == n.split()), None)
    if name is not None:
        return _run(name, COMMANDS[name], words[len(name.split()) :])
    group = f"{words[0]} " if words and any(n.startswith(f"{words[0]} ") for n in COMMANDS) else ""
    rest = words[1:] if group else words
    if rest and not rest[0].startswith("-"):
        from diotima.settings import did_you_mean

        raise SettingsError(f"{group}{rest[0]} is not a command; {did_you_mean(group + rest[0], COMMANDS)}")
    if rest and rest[0] not in ("--help", "-h"):
        raise SettingsError(f"{rest[0]} needs a command before it; see diotima --help")
    print(_overview(group))
    return 0


def _overview(group: str) -> str:
    chosen = {name: command for name, command in COMMANDS.items() if name.startswith(group)}
    width = max(map(len, chosen))
    lines = [f"  {name:{width}}  {command.summary}" for name, command in chosen.items()]
    return "\n".join(
        [
            (diotima.__doc__ or "").partition("\n")[0],
            "",
            f"Usage: diotima {group}COMMAND ...",
            "",
            *lines,
            "",
            "A command's own help shows its settings and an example. --json prints one JSON object at the end.",
        ]
    )


def _run(name: str, command: Command, words: list[str]) -> int:
    from diotima.flags import parse_flags
    from diotima.processes import count, is_first
    from diotima.settings import load_settings

    if count() > 1 and not name.startswith("train "):
        raise SettingsError(f"several processes can only train together; start diotima {name} without torchrun")
    module = import_module(command.module)
    flags = parse_flags(
        f"diotima {name}", f"{command.summary}\n\nExample: {command.example}", module.Settings, command.positional,
        set(command.fixed), words,
    )  # fmt: skip
    if flags is None:
        return 0
    settings = load_settings(module.Settings, flags.recipe, {**command.fixed, **flags.values})
    with contextlib.redirect_stdout(sys.stderr) if flags.json else contextlib.nullcontext():
        done = _call(module, settings)
    path = done if isinstance(done, Path) else None
    if not is_first():
        return 0
    if flags.json:
        from diotima.recipe import read_summary

        summary = done if isinstance(done, dict) else read_summary(path)
        result = {"command": name, "path": None if path is None else str(path), "summary": summary}
        print(json.dumps(result, ensure_ascii=False))
    elif path is not None:
        print(path)
    return 0


def _call(module: ModuleType, settings: Any) -> Path | dict[str, Any] | None:
    """What a command made, or the figures of one that only looks."""
    result: Path | dict[str, Any] | None = (
        module.run(settings, stages()) if module.__name__ == RECIPE else module.run(settings)
    )
    return result


def _complain(sentence: str, code: int) -> int:
    print(f"diotima: {sentence}", file=sys.stderr)
    return code
