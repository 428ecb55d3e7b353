import weakref
from collections import Counter
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'diotima[train]'")

from diotima.errors import ModelError  # noqa: E402
from diotima.models import generation  # noqa: E402
from diotima.models.chat import Sampling  # noqa: E402
from diotima.models.generation import Context, Sampled, check_cache, keeps_plain_cache, sample_replies  # noqa: E402

from .conftest import new_model  # noqa: E402

PLAIN = ("llama", "qwen2", "gpt_neox", "gpt2")
SLIDING = ("mistral", "gemma3_text")
ENDS = frozenset(range(1, 13))
PROMPTS = [tuple(range(30, 30 + length)) for length in (3, 40, 11, 25, 5)]


@cache
def model_of(family: str) -> Any:
    return new_model(family, **({"sliding_window": 8} if family in SLIDING else {}))


def sampling(seed: int, tokens: int = 12, temperature: float = 1.0, top_p: float = 1.0) -> Sampling:
    return Sampling(temperature, top_p, tokens, seed)


def reference(model: Any, context: Context, reply: tuple[int, ...]) -> list[float]:
    """The reply's log-probabilities by one forward pass over everything, as transformers does it."""
    with torch.no_grad():
        logits = model(torch.tensor([[*context.ids, *reply]])).logits[0].float()
    scale = context.sampling.temperature or 1.0
    rows = torch.log_softmax(logits[len(context.ids) - 1 : -1] / scale, -1)
    return [float(row[token]) for row, token in zip(rows, reply, strict=True)]


def check(model: Any, contexts: list[Context], replies: list[Sampled]) -> None:
    for context, reply in zip(contexts, replies, strict=True):
        assert reply.logprobs == pytest.approx(reference(model, context, reply.ids), abs=1e-4)
        assert reply.ended == (reply.ids[-1] in ENDS)
        assert not ENDS & set(reply.ids[:-1])
        assert len(reply.ids) == context.sampling.max_tokens or reply.ended


@pytest.mark.parametrize("family", [*PLAIN, *SLIDING])
def test_log_probabilities_are_those_of_one_pass_over_several_turns(family: str) -> None:
    model = model_of(family)
    contexts = [
        Context(prompt, sampling(seed, tokens=4 + 5 * seed, temperature=0.5 + seed / 4))
        for seed, prompt in enumerate(PROMPTS)
    ]
    endings = set()
    for turn in range(3):
        replies = sample_replies(model, contexts, ENDS, pad_id=0)
        check(model, contexts, replies)
        endings |= {reply.ended for reply in replies}
        assert all((reply.layers is not None) == (family in PLAIN) for reply in replies)
        contexts = [
            Context((*old.ids, *reply.ids, *range(60, 62 + index)), replace(old.sampling, seed=turn), reply.layers)
            for index, (old, reply) in enumerate(zip(contexts, replies, strict=True))
        ]
        contexts[turn] = replace(contexts[turn], layers=None)  # one row has lost its cache
    assert endings == {True, False}


@pytest.mark.parametrize("family", PLAIN)
def test_a_later_turn_reads_its_new_tokens_only(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, read = model_of(family), []
    first = Context(PROMPTS[1], sampling(1))
    reply = sample_replies(model, [first], ENDS, 0)[0]
    forward = model.forward
    monkeypatch.setattr(
        model, "forward", lambda *args, **named: read.append(named["input_ids"].shape[1]) or forward(*args, **named)
    )
    later = Context((*first.ids, *reply.ids, 60, 61), sampling(2), reply.layers)
    assert later.cached == len(first.ids) + len(reply.ids) - 1
    sample_replies(model, [later], ENDS, 0)
    assert read[0] == 3  # the last sampled token, and two new ones
    assert set(read[1:]) <= {1}


def test_finished_rows_leave_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    model, rows = model_of("llama"), []
    forward = model.forward
    monkeypatch.setattr(
        model, "forward", lambda *args, **named: rows.append(named["input_ids"].shape[0]) or forward(*args, **named)
    )
    contexts = [Context(prompt, sampling(seed, tokens=3 * (seed + 1))) for seed, prompt in enumerate(PROMPTS)]
    replies = sample_replies(model, contexts, frozenset(), 0)
    assert [len(reply.ids) for reply in replies] == [3, 6, 9, 12, 15]
    assert rows == [5, 5, 5, 4, 4, 4, 3, 3, 3, 2, 2, 2, 1, 1, 1]


@pytest.mark.parametrize("family", [*PLAIN, *SLIDING])
def test_greedy_is_transformers_own(family: str) -> None:
    model = model_of(family)
    contexts = [Context(prompt, sampling(0, tokens=20, temperature=0.0)) for prompt in PROMPTS]
    replies = sample_replies(model, contexts, ENDS, 0)
    for context, reply in zip(contexts, replies, strict=True):
        written = model.generate(
            torch.tensor([context.ids]),
            attention_mask=torch.ones(1, len(context.ids), dtype=torch.long),
            do_sample=False,
            max_new_tokens=20,
            eos_token_id=sorted(ENDS),
            pad_token_id=0,
        )[0, len(context.ids) :]
        assert reply.ids == tuple(written.tolist())
    check(model, contexts, replies)


@pytest.mark.parametrize("family", ["llama", "mistral"])
def test_a_reply_is_the_same_alone_and_in_a_batch(family: str) -> None:
    model = model_of(family)
    contexts = [Context(prompt, sampling(seed, tokens=5 + 7 * seed)) for seed, prompt in enumerate(PROMPTS)]
    together = sample_replies(model, contexts, ENDS, 0)
    turned = sample_replies(model, contexts[::-1], ENDS, 0)[::-1]
    for context, one, other in zip(contexts, together, turned, strict=True):
        alone = sample_replies(model, [context], ENDS, 0)[0]
        assert alone.ids == one.ids == other.ids
        assert alone.logprobs == pytest.approx(one.logprobs, abs=1e-4)


def test_seeds_decide() -> None:
    model = model_of("llama")
    ids = [
        sample_replies(model, [Context(PROMPTS[0], sampling(1) if seed else Sampling(max_tokens=12))], frozenset(), 0)[
            0
        ].ids
        for seed in (True, True, False, False)
    ]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 3


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (0.6, 1.0), (2.0, 1.0), (1.0, 0.7), (2.0, 0.6)])
def test_tokens_are_drawn_from_the_distribution_asked_for(temperature: float, top_p: float) -> None:
    from scipy.stats import chisquare

    model, prompt = new_model(vocabulary=12), (3, 5, 7)
    contexts = [Context(prompt, sampling(seed, 1, temperature, top_p)) for seed in range(3000)]
    replies = sample_replies(model, contexts, frozenset(), 0)
    with torch.no_grad():
        expected = torch.softmax(model(torch.tensor([prompt])).logits[0, -1].double() / temperature, -1)
    if top_p < 1:
        ordered = sorted(range(12), key=lambda token: -expected[token])
        kept, reached = [], 0.0
        while reached < top_p:
            kept.append(ordered[len(kept)])
            reached += float(expected[kept[-1]])
        assert 1 <= len(kept) < 12
        expected = torch.tensor([float(expected[token]) if token in kept else 0.0 for token in range(12)])
        expected /= expected.sum()
    drawn = Counter(reply.ids[0] for reply in replies)
    assert set(drawn) <= {token for token in range(12) if expected[token] > 0}
    likely = [token for token in range(12) if expected[token] * 3000 >= 5]
    counts = [drawn[token] for token in likely]
    shares = torch.tensor([float(expected[token]) for token in likely], dtype=torch.float64)
    assert chisquare(counts, (shares / shares.sum() * sum(counts)).numpy()).pvalue > 0.001
    for reply in replies[:50]:
        assert reply.logprobs[0] == pytest.approx(float(expected[reply.ids[0]].log()), abs=1e-4)


def test_rows_of_one_batch_may_want_different_things() -> None:
    model = model_of("llama")
    wanted = [sampling(3, 12, 0.0), sampling(3, 12, 1.0), sampling(3, 12, 1.0, 0.3)]
    contexts = [Context(PROMPTS[0], each) for each in wanted]
    together = [reply.ids for reply in sample_replies(model, contexts, frozenset(), 0)]
    assert together == [sample_replies(model, [context], frozenset(), 0)[0].ids for context in contexts]
    assert len(set(together)) == 3


@pytest.mark.parametrize("family", [*PLAIN, *SLIDING])
def test_which_models_keep_a_plain_cache(family: str) -> None:
    assert keeps_plain_cache(model_of(family)) == (family in PLAIN)


def test_a_cache_grows_past_its_room() -> None:
    model = model_of("llama")
    context = Context(PROMPTS[0], sampling(1, tokens=150))
    reply = sample_replies(model, [context], frozenset(), 0)[0]
    assert reply.logprobs == pytest.approx(reference(model, context, reply.ids), abs=1e-4)
    assert reply.layers is not None
    assert reply.layers[0][0].shape[1] == len(context.ids) + 149


def test_no_second_copy_of_the_caches_is_held_while_replies_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    model, held, alive = model_of("llama"), [], []
    row, write = generation._Batch.row, generation._write

    def seen_row(batch: Any, place: int) -> Any:
        layers = row(batch, place)
        held.extend(weakref.ref(part) for layer in [*layers, *batch.cache.layers] for part in parts_of(layer))
        return layers

    def seen_write(*arguments: Any, **named: Any) -> Any:
        alive.append(sum(part() is not None for part in held))
        return write(*arguments, **named)

    monkeypatch.setattr(generation._Batch, "row", seen_row)
    monkeypatch.setattr(generation, "_write", seen_write)
    sample_replies(model, [Context(prompt, sampling(seed)) for seed, prompt in enumerate(PROMPTS)], ENDS, 0)
    assert alive == [0]
    assert held


def parts_of(layer: Any) -> tuple[Any, Any]:
    return layer if isinstance(layer, tuple) else (layer.keys, layer.values)


def test_a_model_that_forgets_what_it_has_read_is_refused_in_a_sentence() -> None:
    from peft import LoraConfig, get_peft_model

    from .families import random_model

    mamba = random_model("mamba", 40, pad_token_id=0, bos_token_id=1, eos_token_id=2)
    with pytest.raises(ModelError, match=r"hf/m: a model of the kind mamba keeps what it has read in another way"):
        check_cache(mamba, "hf/m")
    check_cache(get_peft_model(new_model("llama"), LoraConfig(task_type="CAUSAL_LM")), "beside a low-rank difference")
