"""The arithmetic of differences: bits come back whatever they are, and fewer bits err as little as they can."""

import json
import struct
from pathlib import Path

import numpy
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from training.weight_folders import made, moved, recovered, weights, write

from diotima.errors import ModelError
from diotima.training import weight_difference
from diotima.training.tensor_files import TensorWriter, open_tensors
from diotima.training.weight_difference import Pair, difference, form_of, in_order, recovery, spans

WIDTHS = {"BF16": 2, "F32": 4, "I64": 8, "F8_E4M3": 1, "F4": 1}
DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2)


def raw(path: Path, dtype: str, data: bytes):
    """A file with one tensor of these bytes."""
    shape = (len(data) // WIDTHS[dtype],)
    with path.open("wb") as file:
        writer = TensorWriter(file, {"a": shape})
        writer.write(data)
        writer.name("a", dtype, shape)
        writer.close()
    return open_tensors(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(dtype=st.sampled_from(sorted(WIDTHS)), seed=st.integers(0, 2**31), count=st.integers(0, 700))
def test_any_bits_of_any_type_come_back(tmp_path: Path, dtype: str, seed: int, count: int) -> None:
    draw = numpy.random.default_rng(seed)
    tuned = raw(tmp_path / "tuned", dtype, draw.bytes(count * WIDTHS[dtype]))
    base = raw(tmp_path / "base", dtype, draw.bytes(count * WIDTHS[dtype]))
    place, under = tuned.places[0], (base, base.places[0])
    pieces = [difference(span) for span in spans(Pair("xor", place, tuned, under))]
    back = [recovery((piece.span, bytes(piece.stored), b"")) for piece in pieces]
    assert b"".join(piece.result for piece in back) == tuned.read(place, 0, place.size)
    assert b"".join(piece.base for piece in back) == base.read(under[1], 0, place.size)
    if count:
        assert b"".join(piece.result for piece in back) != b"".join(piece.base for piece in back)


def test_a_subtraction_would_not_bring_the_bits_back() -> None:
    base, tuned = torch.tensor([1.0], dtype=torch.bfloat16), torch.tensor([1e-3], dtype=torch.bfloat16)
    assert base + (tuned - base) != tuned


@pytest.mark.parametrize("base", DTYPES)
@pytest.mark.parametrize("tuned", DTYPES)
def test_a_base_of_another_floating_type_is_converted(base: torch.dtype, tuned: torch.dtype, tmp_path: Path) -> None:
    before = {name: tensor / 8 for name, tensor in weights(torch.float32).items()}
    under = write(tmp_path / "base", {name: tensor.to(base) for name, tensor in before.items()})
    after = write(tmp_path / "tuned", {name: tensor.to(tuned) for name, tensor in moved(before).items()})
    out = recovered(under, made(under, after, tmp_path / "diff"), tmp_path / "out")
    assert (out / "model.safetensors").read_bytes() == (after / "model.safetensors").read_bytes()


@pytest.mark.parametrize(("precision", "most"), [("bf16", 2**-8), ("f16", 2**-11), ("int8", 1 / 254)])
def test_fewer_bits_err_by_half_a_step_at_most(
    precision: str, most: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weight_difference, "PIECE", 1024)
    before = weights(torch.float32)
    after = moved(before, 1e-2)
    under, tuned = write(tmp_path / "base", before), write(tmp_path / "tuned", after)
    diff = made(under, tuned, tmp_path / "diff", precision=precision)
    result = load_file(recovered(under, diff, tmp_path / "out") / "model.safetensors")
    told = json.loads((diff / "diff.json").read_text())["largest_error"]
    errors = {name: float((result[name] - after[name]).abs().max()) for name in after}
    assert told["error"] == max(errors.values()) == errors[told["tensor"]] > 0
    largest = float((after[told["tensor"]] - before[told["tensor"]]).abs().max())
    assert told["change"] == pytest.approx(largest)
    assert max(errors.values()) <= 1.01 * most * max(float((after[n] - before[n]).abs().max()) for n in after) + 3e-7
    stored = load_file(diff / "tensors" / "model.safetensors")  # plain tensors that anyone may read
    assert stored["embed.weight"].shape == after["embed.weight"].shape
    if precision != "int8":
        assert torch.allclose(before["embed.weight"] + stored["embed.weight"], result["embed.weight"], atol=3e-7)


def test_a_precision_that_saves_nothing_keeps_every_bit(tmp_path: Path) -> None:
    under, tuned = write(tmp_path / "base", weights()), write(tmp_path / "tuned", moved(weights()))
    diff = made(under, tuned, tmp_path / "diff", precision="bf16")
    assert json.loads((diff / "diff.json").read_text())["largest_error"] is None
    out = recovered(under, diff, tmp_path / "out")
    assert (out / "model.safetensors").read_bytes() == (tuned / "model.safetensors").read_bytes()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e6])
def test_what_fewer_bits_cannot_hold_is_refused(value: float, tmp_path: Path) -> None:
    under = write(tmp_path / "base", weights(torch.float32))
    tuned = write(tmp_path / "tuned", {**weights(torch.float32), "norm.weight": torch.full((9,), value)})
    with pytest.raises(ModelError, match=r"norm.weight: its difference is not finite in f16.*use --precision exact"):
        made(under, tuned, tmp_path / "diff", precision="f16")
    assert not [*tmp_path.glob("diff*")]
    assert made(under, tuned, tmp_path / "diff").is_dir()


def test_forms_are_chosen_by_type_and_shape(tmp_path: Path) -> None:
    save_file(
        {"f32": torch.zeros(3), "bf16": torch.zeros(3).bfloat16(), "i32": torch.zeros(3, dtype=torch.int32),
         "i64": torch.zeros(3, dtype=torch.int64), "long": torch.zeros(4), "none": torch.zeros(0)}, tmp_path / "a",
    )  # fmt: skip
    place = {place.name: place for place in open_tensors(tmp_path / "a").places}
    assert form_of(place["f32"], place["bf16"], "exact") == "xor"
    assert form_of(place["f32"], place["bf16"], "bf16") == "bf16"
    assert form_of(place["bf16"], place["f32"], "f16") == "xor"
    assert form_of(place["bf16"], place["f32"], "int8") == "int8"
    assert form_of(place["i32"], place["i32"], "int8") == "xor"
    assert form_of(place["none"], place["none"], "int8") == "xor"
    assert form_of(place["i32"], place["i64"], "exact") == "whole"
    assert form_of(place["i32"], place["f32"], "exact") == "whole"
    assert form_of(place["long"], place["f32"], "exact") == "whole"
    assert form_of(place["long"], None, "bf16") == "whole"


def test_work_is_done_ahead_and_told_in_order() -> None:
    taken = []

    def numbers():
        for number in range(50):
            taken.append(number)
            yield number

    results = in_order(lambda number: number * number, numbers())
    assert next(results) == 0
    assert len(taken) < 20
    assert [*results] == [number * number for number in range(1, 50)]


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda data: data[:-1], "is not whole: its header speaks of"),
        (lambda data: data + b"0", "is not whole"),
        (lambda data: data[:5], "is no safetensors file"),
        (lambda data: struct.pack("<Q", 2**40) + data[8:], "is no safetensors file"),
        (lambda data: data.replace(b'"F32"', b'"F64"'), "places a where it cannot lie"),
        (lambda data: data.replace(b"[0,12]", b"[4,12]"), "places a where it cannot lie"),
        (lambda data: data.replace(b'"shape"', b'"shap_"'), "its header cannot be read"),
        (lambda data: data.replace(b'{"a"', b'{{"a'), "its header cannot be read"),
        (lambda data: _framed(data[8:-12].decode().encode("utf-16-le"), data[-12:]), "its header cannot be read"),
    ],
)
def test_a_file_that_is_no_safetensors_is_one_sentence(damage, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(_one_tensor(tmp_path))
    assert len(open_tensors(path).places) == 1
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ModelError, match=sentence):
        open_tensors(path)


def _framed(header: bytes, data: bytes) -> bytes:
    return struct.pack("<Q", len(header)) + header + data


def _one_tensor(folder: Path) -> bytes:
    save_file({"a": torch.ones(3)}, folder / "one")
    return (folder / "one").read_bytes()


def test_a_file_that_shrinks_while_it_is_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(_one_tensor(tmp_path))
    file = open_tensors(tmp_path / "a")
    (tmp_path / "a").write_bytes((tmp_path / "a").read_bytes()[:-4])
    with pytest.raises(ModelError, match="it ends inside a"):
        file.read(file.places[0], 0, 12)
