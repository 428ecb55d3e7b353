import json
from pathlib import Path
from typing import Any

import pytest

from diotima.corpus.pair_set import Pair, read_pairs, room_for_pairs
from diotima.dialogue import Message
from diotima.errors import ProblemFileError, RunError

ASKED = {"role": "user", "content": "I got 3."}
GOOD = {"role": "assistant", "content": "How?"}
BAD = {"role": "assistant", "content": "It is 4."}
ROW = {"prompt": [ASKED], "chosen": [GOOD], "rejected": [BAD]}


def written(folder: Path, *rows: Any, name: str = "pairs.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_set_from_elsewhere(tmp_path: Path) -> None:
    path = written(tmp_path, ROW | {"more": 1}, ROW | {"problem_id": "p"}, name="other.jsonl")
    pair = Pair((Message("user", "I got 3."),), "How?", "It is 4.")
    assert read_pairs(path) == [pair, Pair(pair.prompt, "How?", "It is 4.", "p")]


def test_a_prompt_may_stand_in_front_of_both_replies(tmp_path: Path) -> None:
    path = written(tmp_path, {"chosen": [ASKED, GOOD], "rejected": [ASKED, BAD]})
    assert read_pairs(path) == read_pairs(written(tmp_path, ROW, name="plain.jsonl"))


def test_a_folder_with_parquet_alone(tmp_path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_pylist([ROW, ROW]), tmp_path / "pairs.parquet")
    assert read_pairs(tmp_path) == read_pairs(written(tmp_path, ROW, ROW))


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"chosen": "How?"}, "the field chosen must be a list of messages, .* not str"),
        ({"chosen": []}, "the field chosen must be a list of messages, .* not empty"),
        ({"rejected": None}, "the field rejected must be a list of messages, .* not missing"),
        ({"prompt": "I got 3."}, "the field prompt must be a list of messages, .* not str"),
        ({"prompt": [{"role": "student", "content": "x"}]}, "the field prompt, message 1: needs a role"),
        ({"prompt": [ASKED, {"role": "user", "content": 3}]}, "the field prompt, message 2: needs a role"),
        ({"prompt": [ASKED, GOOD]}, "the prompt must end with a message of the user"),
        ({"chosen": [ASKED]}, "must be messages of the assistant"),
        ({"chosen": [GOOD, BAD]}, "chosen and rejected must have one message each"),
        ({"rejected": [GOOD]}, "are the same text"),
        ({"prompt": None, "chosen": [ASKED, GOOD], "rejected": [BAD]}, "alike but for their last message"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, row: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ProblemFileError, match=rf"pairs\.jsonl, line 2: .*{sentence}"):
        read_pairs(written(tmp_path, ROW, ROW | row))


def test_what_is_no_set(tmp_path: Path) -> None:
    with pytest.raises(ProblemFileError, match=r"holds no pairs\.jsonl"):
        read_pairs(tmp_path)
    with pytest.raises(ProblemFileError, match=r"there is no file of pairs .*nowhere"):
        read_pairs(tmp_path / "nowhere.jsonl")
    with pytest.raises(ProblemFileError, match="holds no pairs"):
        read_pairs(written(tmp_path))
    with pytest.raises(ProblemFileError, match="pairs are read from files that end in"):
        read_pairs(written(tmp_path, ROW, name="pairs.txt"))


def test_room_is_made_only_where_a_set_was(tmp_path: Path) -> None:
    with room_for_pairs(tmp_path / "new"):
        written(tmp_path / "new", ROW)
    (tmp_path / "new" / "done.json").write_text("{}")
    with room_for_pairs(tmp_path / "new"):
        assert [path.name for path in (tmp_path / "new").iterdir()] == ["done.json"]
    with pytest.raises(RunError, match="holds something that is no set of pairs"), room_for_pairs(tmp_path / "new"):
        pass


@pytest.mark.parametrize("failure", [RunError, KeyboardInterrupt])
def test_a_set_that_failed_leaves_nothing_behind(tmp_path: Path, failure: type[BaseException]) -> None:
    def fail(folder: Path) -> None:
        with room_for_pairs(folder):
            written(folder, ROW)
            raise failure

    (tmp_path / "there").mkdir()
    for name in ("new", "there"):
        with pytest.raises(failure):
            fail(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
    assert list((tmp_path / "there").iterdir()) == []
