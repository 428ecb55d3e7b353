"""Make the tiny tutor again: a small Llama, trained from nothing on lessons of the sandbox's training split.

Two phases. First every tutor turn is the thinking guide's, so that the model learns to *diagnose*; then the leaky
mixture, so that what it does by default is give the answer away, while the ability stays. The loss is on the tutor's
turns and on the student's after the first: the student's copying of numbers is what teaches the model to copy.

Matrices are trained by Muon (Jordan et al. 2024), all else by AdamW, both with a short warm-up and a linear decay.

    diotima sandbox pretrain --out runs/tiny-tutor

The weights that the package ships were made by exactly this command; it takes about a quarter of an hour of one
quiet core.
"""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from diotima.classroom.casting import Part, remember_part
from diotima.classroom.learner import Learner
from diotima.classroom.lesson import Classroom
from diotima.classroom.roles import Role
from diotima.dialogue import TUTOR, Dialogue, stable_seed
from diotima.models.scripted import queue_of
from diotima.progress import Progress
from diotima.prompt import load_prompt
from diotima.sandbox.demonstrations import DIAGNOSING, LEAKY, Mixture
from diotima.sandbox.tokenizer import END, train_tokenizer
from diotima.sandbox.world import World
from diotima.settings import Settings as BaseSettings

if TYPE_CHECKING:
    import torch
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast


class Settings(BaseSettings):
    """How the tiny tutor is made."""

    out: Path
    """Folder for the model: weights, tokenizer and configuration."""
    seed: int = 0
    """Seed of the lessons, the initial weights and the order of batches."""
    diagnosing_tokens: int = 6_000_000
    """Tokens of the first phase, in which every turn diagnoses."""
    leaky_tokens: int = 2_500_000
    """Tokens of the second phase, in which giving the answer away is the most likely turn."""
    batch_tokens: int = 2_500
    """Tokens in a batch, padding included."""
    width: int = 128
    """Width of the model; heads are 32 wide."""
    layers: int = 3
    """Layers of the model."""
    threads: int = 1
    """Processor threads; two on busy cores are slower than one."""

    def phases(self) -> "tuple[Phase, Phase]":
        """Both phases, in order."""
        return (
            Phase("diagnosing", DIAGNOSING, self.diagnosing_tokens, muon_rate=1e-2, adam_rate=3e-3),
            Phase("leaky", LEAKY, self.leaky_tokens, muon_rate=5e-3, adam_rate=1e-3),
        )


@dataclass(frozen=True, slots=True)
class Phase:
    """One phase of training: which lessons, how many tokens, and the peak learning rates."""

    name: str
    mixture: Mapping[str, float]
    tokens: int
    muon_rate: float
    adam_rate: float


def run(settings: Settings) -> Path:
    """Make tokenizer and model; returns their folder."""
    import torch

    torch.set_num_threads(settings.threads)
    role = tiny_role()
    first = islice(lessons(LEAKY, stable_seed("tokenizer", settings.seed)), 2000)
    tokenizer = train_tokenizer(message.content for dialogue in first for message in role.messages(dialogue))
    model = new_model(settings, tokenizer)
    for phase in settings.phases():
        with Progress(f"pretraining, {phase.name} lessons", phase.tokens) as progress:
            done = 0
            for seen, loss in train(model, tokenizer, phase, settings):
                progress.advance(seen - done, f"loss {loss:.3f}")
                done = seen
    settings.out.mkdir(parents=True, exist_ok=True)
    model.bfloat16().save_pretrained(settings.out)
    tokenizer.save_pretrained(settings.out)
    remember_part(settings.out, Part("tutor/tiny", "solution"))
    return settings.out


def lessons(mixture: Mapping[str, float], seed: int) -> Iterator[Dialogue]:
    """Lessons by a mixture of tutors on problems of the training split, without end."""
    world, number = World(), 0
    classroom = Classroom(Mixture(mixture), Learner())

    async def some(first: int, count: int) -> list[Dialogue]:
        seeds = [stable_seed("lesson", seed, index) for index in range(first, first + count)]
        return [await classroom.teach(world.problem(lesson_seed), lesson_seed) for lesson_seed in seeds]

    while True:
        yield from asyncio.run(some(number, 256))
        number += 256


def examples(
    dialogues: Iterator[Dialogue], tokenizer: "PreTrainedTokenizerFast"
) -> Iterator[tuple[list[int], list[int]]]:
    """Token ids of each lesson, and a mask: 1 on the tutor's turns and on the student's after the first."""
    role = tiny_role()
    ends = tokenizer.convert_tokens_to_ids(END)
    for dialogue in dialogues:
        text = tokenizer.apply_chat_template(
            [{"role": message.role, "content": message.content} for message in role.messages(dialogue)], tokenize=False
        )
        ids = tokenizer.encode(text, add_special_tokens=False)
        # The first two messages are the prompt and the student's first attempt, which nothing before them explains.
        opening = [index for index, token in enumerate(ids) if token == ends][1] + 1
        yield ids, [0] * opening + [1] * (len(ids) - opening)


def tiny_role() -> Role:
    """The tiny tutor's role, for its view of a dialogue; its model is never asked."""
    return Role(TUTOR, queue_of(()), load_prompt("tutor/tiny"), sees="solution")


def batches(
    rows: Iterator[tuple[list[int], list[int]]], batch_tokens: int, random: Random
) -> Iterator[list[tuple[list[int], list[int]]]]:
    """Batches of rows of like length, at most ``batch_tokens`` tokens with padding, in random order."""
    while True:
        pool = sorted((next(rows) for _ in range(512)), key=lambda row: len(row[0]))
        made: list[list[tuple[list[int], list[int]]]] = [[]]
        for row in pool:
            if len(row[0]) * (len(made[-1]) + 1) > batch_tokens:
                made.append([])
            made[-1].append(row)
        random.shuffle(made)
        yield from made


def new_model(settings: Settings, tokenizer: "PreTrainedTokenizerFast") -> "LlamaForCausalLM":
    """A Llama with random weights. Llama, because every server and converter leaves its tokenizer alone."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(settings.seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=settings.width,
            intermediate_size=settings.width * 8 // 3,
            num_hidden_layers=settings.layers,
            num_attention_heads=settings.width // 32,
            num_key_value_heads=settings.width // 32,
            head_dim=32,
            max_position_embeddings=2048,
            tie_word_embeddings=True,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            bos_token_id=None,
        )
    )


def train(
    model: "LlamaForCausalLM", tokenizer: "PreTrainedTokenizerFast", phase: Phase, settings: Settings
) -> Iterator[tuple[int, float]]:
    """Train one phase; yields the tokens seen and the loss after every batch."""
    import torch

    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    others = [p for name, p in model.named_parameters() if p.ndim != 2 or "embed" in name]
    optimizers: list[tuple[torch.optim.Optimizer, float]] = [
        (torch.optim.Muon(matrices, lr=phase.muon_rate, weight_decay=0.0), phase.muon_rate),
        (torch.optim.AdamW(others, lr=phase.adam_rate, betas=(0.9, 0.95), weight_decay=0.0), phase.adam_rate),
    ]
    seed = stable_seed("pretrain", settings.seed, phase.name)
    rows = examples(lessons(phase.mixture, seed), tokenizer)
    seen, step = 0, 0
    for batch in batches(rows, settings.batch_tokens, Random(seed)):
        share = seen / phase.tokens
        if share >= 1:
            return
        scale = min(1.0, (step + 1) / 30) * (1 - 0.95 * share)
        for optimizer, rate in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate * scale
        ids, labels = pad(batch, tokenizer.pad_token_id)
        loss = model(input_ids=ids, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, _ in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        seen, step = seen + ids.numel(), step + 1
        yield seen, loss.item()


def pad(batch: list[tuple[list[int], list[int]]], pad_id: int) -> "tuple[torch.Tensor, torch.Tensor]":
    """Ids and labels, shape (rows, longest); -100 where there is no loss. Right-padded, so no attention mask is due."""
    import torch

    longest = max(len(ids) for ids, _ in batch)
    ids_B_T = torch.full((len(batch), longest), pad_id)
    labels_B_T = torch.full((len(batch), longest), -100)
    for row, (ids, mask) in enumerate(batch):
        ids_B_T[row, : len(ids)] = torch.tensor(ids)
        labels_B_T[row, : len(ids)] = torch.where(torch.tensor(mask) == 1, torch.tensor(ids), -100)
    return ids_B_T, labels_B_T
