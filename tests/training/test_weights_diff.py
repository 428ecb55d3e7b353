"""A model's difference and back: every file to the last bit, the right base only, whole or not at all."""

import errno
import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from training.weight_folders import digests, made, moved, recovered, weights, write

from diotima.cli import main
from diotima.errors import ModelError, RunError
from diotima.models.folders import TINY
from diotima.training import weight_difference, weight_rewriting
from diotima.training.tensor_files import TensorWriter

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weight_difference, "PIECE", 1024)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return write(tmp_path / "base", weights())


@pytest.fixture
def tuned(tmp_path: Path) -> Path:
    """In three files where the base has one, with all that a model's folder holds."""
    after = moved(weights())
    shards = [{name: tensor} for name, tensor in after.items()]
    folder = write(tmp_path / "tuned", *shards, metadata={"format": "pt", "z": "ü", "a": "1"}, tutor_dot_json="{}")
    (folder / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates" / "tool.jinja").write_text("{{ messages }}")
    return folder


def test_every_file_comes_back_to_the_last_bit(base: Path, tuned: Path, tmp_path: Path, capsys: Captured) -> None:
    diff = made(base, tuned, tmp_path / "diff")
    out = recovered(base, diff, tmp_path / "out")
    assert digests(out) == digests(tuned)
    assert len(digests(out)) == 3 + 4
    manifest = json.loads((diff / "diff.json").read_text())
    told = {name: file["sha256"] for name, file in manifest["weights"].items()} | manifest["files"]
    assert told == digests(tuned)
    assert "to the last bit (7 checked)" in capsys.readouterr().out
    assert not (diff / "config.json").exists()  # nobody may load a difference as a model


def test_what_did_not_change_takes_next_to_nothing(base: Path, tmp_path: Path) -> None:
    shutil.copytree(base, tmp_path / "same")
    with (made(base, tmp_path / "same", tmp_path / "diff") / "tensors" / "model.safetensors").open("rb") as file:
        header = int.from_bytes(file.read(8), "little")
        assert file.seek(0, os.SEEK_END) - 8 - header < 200 < (base / "model.safetensors").stat().st_size / 10


def test_new_missing_and_resized_tensors_are_kept_whole_and_named(base: Path, tmp_path: Path, capsys: Captured) -> None:
    after = moved(weights())
    after["embed.weight"] = torch.cat([after["embed.weight"], torch.ones(3, 53).bfloat16()])
    after["head.weight"] = torch.zeros(5, 7, dtype=torch.int32)
    after["empty"] = torch.zeros(0, 3)
    after["scalar"] = torch.tensor(3.0)
    del after["norm.weight"]
    tuned = write(tmp_path / "tuned", after)
    diff = made(base, tuned, tmp_path / "diff")
    manifest = json.loads((diff / "diff.json").read_text())
    assert set(manifest["new"]) == {"head.weight", "empty", "scalar"}
    assert (manifest["changed"], manifest["missing"]) == (["embed.weight"], ["norm.weight"])
    shown = capsys.readouterr().out
    assert "whole, and so readable without the base" in shown
    assert "(3 new, 1 of another shape or type)" in shown
    assert "only in the base: norm.weight" in shown
    assert digests(recovered(base, diff, tmp_path / "out")) == digests(tuned)


def test_the_header_is_kept_with_its_order_and_padding(base: Path, tmp_path: Path) -> None:
    shutil.copytree(base, tmp_path / "tuned")
    path = tmp_path / "tuned" / "model.safetensors"
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    told = json.loads(data[8 : 8 + length])
    strange = json.dumps(dict(reversed(told.items())), indent=1).encode() + b"   "
    path.write_bytes(len(strange).to_bytes(8, "little") + strange + data[8 + length :])
    out = recovered(base, made(base, tmp_path / "tuned", tmp_path / "diff"), tmp_path / "out")
    assert (out / "model.safetensors").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("precision", ["exact", "int8"])
def test_another_base_is_refused_at_the_first_tensor_that_differs(
    precision: str, base: Path, tuned: Path, tmp_path: Path
) -> None:
    diff = made(base, tuned, tmp_path / "diff", precision=precision)
    other = weights()
    other["layer.weight"] = other["layer.weight"].clone()
    other["layer.weight"][7, 7] += 1
    wrong = write(tmp_path / "wrong", other)
    with pytest.raises(ModelError, match=r"wrong is not the base .* made with .*base: layer.weight has SHA-256 \w{12}"):
        recovered(wrong, diff, tmp_path / "out")
    assert not [*tmp_path.glob("out*")]


def test_a_base_of_other_types_shapes_or_names_is_refused_before_anything_is_read(
    base: Path, tuned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    diff = made(base, tuned, tmp_path / "diff")
    monkeypatch.setattr(weight_rewriting, "in_order", pytest.fail)
    wide = write(tmp_path / "wide", weights(torch.float32))
    with pytest.raises(ModelError, match=r"embed.weight is F32 37x53 in it, and BF16 37x53 was expected"):
        recovered(wide, diff, tmp_path / "out")
    few = write(tmp_path / "few", {"embed.weight": weights()["embed.weight"]})
    with pytest.raises(ModelError, match=r"it has no layer.weight"):
        recovered(few, diff, tmp_path / "out")


def test_a_base_in_other_files_is_the_same_base(base: Path, tuned: Path, tmp_path: Path) -> None:
    diff = made(base, tuned, tmp_path / "diff")
    sharded = write(tmp_path / "sharded", *({name: tensor} for name, tensor in weights().items()))
    assert digests(recovered(sharded, diff, tmp_path / "out")) == digests(tuned)


FIRST = "model-00001-of-00003.safetensors"


@pytest.mark.parametrize(
    ("file", "damage", "sentence"),
    [
        (f"tensors/{FIRST}", lambda data: data[:-9], "is not whole"),
        (f"tensors/{FIRST}", lambda data: data[:-9] + bytes([data[-9] ^ 1]) + data[-8:], "is damaged; fetch it again"),
        (f"tensors/{FIRST}", None, "lacks: the difference is not whole"),
        ("files/tutor.json", lambda data: data + b" ", "is damaged: its SHA-256 is"),
        ("files/tutor.json", None, "lacks: the difference is not whole"),
        ("diff.json", lambda data: data[:-20], "diff.json: .*fetch it again"),
        ("diff.json", None, "is no weight difference: it has no diff.json"),
        ("diff.json", lambda data: data.replace(b"difference 1", b"difference 9"), "diff.json: format"),
        ("diff.json", lambda data: data.replace(b'"tutor.json"', b'"../../x.json"'), "leads out of the folder"),
        ("diff.json", lambda data: data.replace(b'"tutor.json"', b'"/etc/x.json"'), "leads out of the folder"),
        ("diff.json", lambda data: data.replace(b'"form": "xor"', b'"form": "int8"'), "is damaged; fetch it again"),
    ],
)
def test_a_difference_that_is_not_whole_is_refused(
    file: str, damage, sentence: str, base: Path, tuned: Path, tmp_path: Path
) -> None:
    diff = made(base, tuned, tmp_path / "diff")
    before = (diff / file).read_bytes()
    if damage is None:
        (diff / file).unlink()
    else:
        (diff / file).write_bytes(damage(before))
        assert (diff / file).read_bytes() != before
    with pytest.raises(ModelError, match=sentence):
        recovered(base, diff, tmp_path / "out")
    assert not [*tmp_path.glob("out*")]


def test_a_bit_that_flips_in_a_plain_difference_is_found(base: Path, tuned: Path, tmp_path: Path) -> None:
    diff = made(base, tuned, tmp_path / "diff", precision="int8")
    path = diff / "tensors" / FIRST
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(ModelError, match=r"00001-of-00003.safetensors: the difference of embed.weight is damaged"):
        recovered(base, diff, tmp_path / "out")


def test_a_result_that_is_not_as_promised_is_refused(base: Path, tuned: Path, tmp_path: Path) -> None:
    diff = made(base, tuned, tmp_path / "diff")
    manifest = json.loads((diff / "diff.json").read_text())
    manifest["weights"][FIRST]["header"] = manifest["weights"][FIRST]["header"].replace("ü", "u")
    (diff / "diff.json").write_text(json.dumps(manifest))
    with pytest.raises(ModelError, match=r"came out with SHA-256 \w{12}.* was expected"):
        recovered(base, diff, tmp_path / "out")


def test_pickles_checkpoints_and_hidden_files_stay_behind(
    base: Path, tuned: Path, tmp_path: Path, capsys: Captured
) -> None:
    for name in ("training_args.bin", "checkpoint-5/optimizer.pt", "checkpoint-5/model.safetensors", ".cache/lock"):
        (tuned / name).parent.mkdir(exist_ok=True)
        (tuned / name).write_bytes(b"x")
    out = recovered(base, made(base, tuned, tmp_path / "diff"), tmp_path / "out")
    assert digests(out).keys() == digests(tuned).keys() - {
        "training_args.bin", "checkpoint-5/optimizer.pt", "checkpoint-5/model.safetensors", ".cache/lock"
    }  # fmt: skip
    assert "left out: checkpoint-5/model.safetensors, checkpoint-5/optimizer.pt, training" in capsys.readouterr().out


def test_folders_that_do_not_do_are_one_sentence(base: Path, tuned: Path, tmp_path: Path) -> None:
    pickled = tmp_path / "pickled"
    pickled.mkdir()
    (pickled / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(ModelError, match=r"has no \*.safetensors, only pytorch_model.bin, which may hold code"):
        made(base, pickled, tmp_path / "diff")
    (pickled / "pytorch_model.bin").unlink()
    with pytest.raises(ModelError, match=r"has no \*.safetensors$"):
        made(base, pickled, tmp_path / "diff")
    with pytest.raises(ModelError, match="has no weights on this machine"):
        made(base, tmp_path / "nowhere", tmp_path / "diff")
    stranger = write(tmp_path / "stranger", {"other": torch.ones(3)})
    with pytest.raises(ModelError, match="have no tensor in common"):
        made(base, stranger, tmp_path / "diff")
    with pytest.raises(RunError, match="exists already; choose a new folder"):
        made(base, tuned, base)
    index = tuned / "model.safetensors.index.json"
    for odd in ("[]", '{"weight_map": {"a": 1}}', '{"weight_map": []}'):
        with pytest.raises(ModelError, match=r"index\.json cannot be read"):
            made(
                base,
                write(tmp_path / f"odd{len(odd)}", weights(), **{index.name.replace(".", "_dot_"): odd}),
                tmp_path / "diff",
            )
    (tuned / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(ModelError, match=r"places layer.weight in model-00002.*was the download cut off"):
        made(base, tuned, tmp_path / "diff")
    assert not [*tmp_path.glob("diff*")]


def test_the_folder_of_a_run_is_no_model(tuned: Path, base: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.db").write_text("all that was said")
    tuned.rename(tmp_path / "run" / "model")
    with pytest.raises(ModelError, match=r"run is no model's folder, but .*run/model is; give that"):
        made(base, tmp_path / "run", tmp_path / "diff")


def test_no_name_and_links_are_no_new_folder(
    base: Path, tuned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    for name in ("nowhere", "link"):
        with pytest.raises(RunError, match="exists already"):
            made(base, tuned, tmp_path / name)
    monkeypatch.chdir(tmp_path / "empty")
    with pytest.raises(RunError, match=r"^\. is no new folder; give it a name$"):
        made(base, tuned, Path("."))


def test_what_is_no_difference_is_one_sentence(base: Path, tuned: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ModelError, match="file is no weight difference"):
        recovered(base, tmp_path / "file", tmp_path / "out")
    (tmp_path / "odd" / "diff.json").mkdir(parents=True)
    with pytest.raises(ModelError, match=r"diff\.json cannot be read"):
        recovered(base, tmp_path / "odd", tmp_path / "out")
    diff = made(base, tuned, tmp_path / "diff")
    manifest = json.loads((diff / "diff.json").read_text())
    manifest["files"]["adapter_model.bin"] = manifest["files"]["config.json"]
    (diff / "diff.json").write_text(json.dumps(manifest))
    with pytest.raises(ModelError, match="may hold code"):
        recovered(base, diff, tmp_path / "out")


def test_weights_without_a_number_have_a_difference(tmp_path: Path) -> None:
    under, tuned = write(tmp_path / "base", {"a": torch.ones(0)}), write(tmp_path / "tuned", {"a": torch.ones(0)})
    assert digests(recovered(under, made(under, tuned, tmp_path / "diff"), tmp_path / "out")) == digests(tuned)


def test_two_tensors_of_one_name_are_refused(tmp_path: Path) -> None:
    before = {"a": torch.ones(300), "a:scale": torch.ones(3)}
    under, after = write(tmp_path / "base", before), write(tmp_path / "tuned", moved(before))
    with pytest.raises(ModelError, match="two tensors would be called a:scale: use --precision exact"):
        made(under, after, tmp_path / "diff", precision="int8")
    assert digests(recovered(under, made(under, after, tmp_path / "diff"), tmp_path / "out")) == digests(after)


@pytest.mark.parametrize(
    ("stop", "expected", "told"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), RunError, "nothing of it is left; make room"),
        (KeyboardInterrupt(), KeyboardInterrupt, None),
    ],
)
def test_a_stop_leaves_nothing(
    stop: BaseException, expected: type, told: str | None, base: Path, tuned: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def fail(self: TensorWriter, data: object) -> None:
        raise stop

    with monkeypatch.context() as patched:
        patched.setattr(TensorWriter, "write", fail)
        with pytest.raises(expected, match=told):
            made(base, tuned, tmp_path / "diff")
    assert not [*tmp_path.glob("diff*")]
    (tmp_path / "diff.part").mkdir()  # as a kill leaves it
    (tmp_path / "diff.part" / "rest").touch()
    assert sorted(path.name for path in made(base, tuned, tmp_path / "diff").iterdir()) == [
        "diff.json", "files", "tensors"
    ]  # fmt: skip


def test_memory_is_flat_in_the_size_of_a_tensor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weight_difference, "PIECE", 2**12)
    held, most = 0, 0
    original = weight_difference.difference

    def counted(span):
        nonlocal held, most
        held += 1
        most = max(most, held)
        return original(span)

    def passed(*given):
        nonlocal held
        held -= 1

    monkeypatch.setattr(weight_rewriting, "difference", counted)
    monkeypatch.setattr(weight_rewriting.Megabytes, "add", passed)
    big = {"a": torch.zeros(2**18)}
    base, tuned = write(tmp_path / "base", big), write(tmp_path / "tuned", moved(big))
    made(base, tuned, tmp_path / "diff")
    assert held == 0
    assert 0 < most < 20 < 2**20 // 2**12


def test_the_commands_say_what_they_did(base: Path, tuned: Path, tmp_path: Path, capsys: Captured) -> None:
    diff, out = str(tmp_path / "diff"), str(tmp_path / "out")
    assert main(["weights", "diff", "--base", str(base), "--tuned", str(tuned), "--out", diff, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["summary"]
    assert (told["tensors"], told["new"], told["largest_error"]) == (3, [], None)
    assert main(["weights", "recover", "--base", str(base), "--diff", diff, "--out", out, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["summary"]["exact"] is True
    assert main(["weights", "recover", "--base", str(base), "--diff", str(base), "--out", out + "2"]) == 2
    assert capsys.readouterr().err == f"diotima: {base} is no weight difference: it has no diff.json\n"


def test_the_tiny_tutor_has_a_difference_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weight_difference, "PIECE", 2**16)
    shutil.copytree(TINY, tmp_path / "tuned")
    tuned = load_file(TINY / "model.safetensors")
    save_file({name: tensor.float() + 1e-4 for name, tensor in tuned.items()}, tmp_path / "tuned" / "model.safetensors")
    diff = made(Path("tiny"), tmp_path / "tuned", tmp_path / "diff")
    assert digests(recovered(Path("tiny"), diff, tmp_path / "out")) == digests(tmp_path / "tuned")
