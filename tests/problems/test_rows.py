"""Whatever is wrong with a file is one sentence that says where; nothing is read by half."""

from pathlib import Path

import pytest

from diotima.errors import ProblemFileError
from diotima.problems.rows import LONGEST_FIELD, read_rows


def rows_of(path: Path, content: bytes | str) -> list[tuple[str, dict[str, object]]]:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return [(row.place, row.fields) for row in read_rows(path)]


def complaint(path: Path, content: bytes | str) -> str:
    with pytest.raises(ProblemFileError) as caught:
        rows_of(path, content)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(path))
    return str(caught.value).removeprefix(str(path))


def test_json_lines(tmp_path: Path) -> None:
    content = '\ufeff{"a": "line\u2028separator\x85"}\r\n\r\n  \n{"a": "\\ud83c\\udf4e", "b": [1]}'
    expected = [("line 1", {"a": "line\u2028separator\x85"}), ("line 4", {"a": "🍎", "b": [1]})]
    assert rows_of(tmp_path / "a.jsonl", content) == expected


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (
            '{"a": 1}\n{"a": "cut o',
            ", line 2: not valid JSON (Unterminated string starting at character 6); the file ends",
        ),
        ('{"a": 1}\n{"a": "cut o\n', ", line 2: not valid JSON (Unterminated string starting at character 6)"),
        ('{"a": 1}\n[1]\n', ", line 2: a problem must be an object with fields, not list"),
        ('{"a": 1, "a": 2}\n', ", line 1: not valid JSON (the field a stands there twice)"),
        ('{"a": NaN}\n', ", line 1: not valid JSON (NaN is no number)"),
        ('{"a": "\\ud83d"}\n', ", line 1: not valid Unicode (half of a surrogate pair"),
        ("[" * 100_000 + "\n", ", line 1: not valid JSON for us (nested too deeply)"),
        ('{"a": ' + "9" * 5000 + "}\n", ", line 1: not valid JSON (a number with thousands"),
        (b'{"a": 1}\n\0\0\0', ", line 2: NUL bytes; it is damaged or not UTF-8 text; get or save it again"),
        ('{"a": 1}\n'.encode("utf-16"), " is UTF-16 text; save it as UTF-8"),
        ('{"a": 1}\n'.encode("utf-16-le"), ", line 1: NUL bytes"),
        ('{"a": 1}\n{"a": "Größe"}\n'.encode("latin-1"), ", line 2: not UTF-8 text (byte 9); save it as UTF-8"),
    ],
)
def test_json_lines_that_are_none(tmp_path: Path, content: bytes | str, sentence: str) -> None:
    assert complaint(tmp_path / "a.jsonl", content).startswith(sentence)


def test_a_json_list(tmp_path: Path) -> None:
    assert rows_of(tmp_path / "a.json", '[{"a": 1},\n {"a": 2}]') == [("item 1", {"a": 1}), ("item 2", {"a": 2})]
    assert complaint(tmp_path / "a.json", '{"a": 1}').endswith(" must hold a list of problems, not one dict")
    assert (
        complaint(tmp_path / "a.json", '[{"a": 1}, 2]') == ", item 2: a problem must be an object with fields, not int"
    )
    assert complaint(tmp_path / "a.json", '{"a": 1}\n{"a": 2}').endswith("if it has one object a line, name it .jsonl")
    assert complaint(tmp_path / "a.json", '[{"a": 1},\n').startswith(": not valid JSON (Expecting value")
    assert complaint(tmp_path / "a.json", b'[{"a":\n "\xe4"}]').startswith(", line 2: not UTF-8 text (byte 9)")


def test_csv(tmp_path: Path) -> None:
    content = '\ufeffquestion,answer\r\n"How many,\r\n""all"" told?",5\r\n\r\nWhy?,\r\n'
    expected = [
        ("line 2", {"question": 'How many,\r\n"all" told?', "answer": "5"}),
        ("line 5", {"question": "Why?", "answer": ""}),
    ]
    assert rows_of(tmp_path / "a.csv", content) == expected
    assert rows_of(tmp_path / "a.tsv", "a\tb\n1,5\t2\n") == [("line 2", {"a": "1,5", "b": "2"})]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("a,b\n1,2\n3\n", ", line 3: 1 cells, but the header (the first line) has 2"),
        ("a,b\n1,2,3\n", ", line 2: 3 cells, but the header (the first line) has 2"),
        ("a,a\n1,2\n", ", line 1: the header has two columns named 'a'; rename one"),
        ("a;b\n1;2\n", ", line 1: the cells are separated by semicolons; save it with commas"),
        ('a,b\n1,"cut off', ", line 2: not valid CSV (unexpected end of data)"),
        ('a,b\n1,"2" 3\n', ", line 2: not valid CSV ("),
        ("a,b\n1," + "x" * 10_000_000 + "\n", ", line 2: not valid CSV (a cell has more than 131,072 characters)"),
        ("a,b\n1,\0\n", ", line 2: NUL bytes"),
        ("a,b\n1,Größe\n".encode("latin-1"), ", line 2: not UTF-8 text (byte 8)"),
    ],
)
def test_csv_that_is_none(tmp_path: Path, content: bytes | str, sentence: str) -> None:
    assert complaint(tmp_path / "a.csv", content).startswith(sentence)
    assert LONGEST_FIELD == 131_072


def test_parquet(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = pyarrow.table({"question": ["How many?", None], "answer": [5, 6]})
    parquet.write_table(table, tmp_path / "a.parquet")
    whole = (tmp_path / "a.parquet").read_bytes()
    expected = [("row 1", {"question": "How many?", "answer": 5}), ("row 2", {"question": None, "answer": 6})]
    assert rows_of(tmp_path / "a.parquet", whole) == expected
    assert "cannot be read as Parquet after row 0 (" in complaint(tmp_path / "a.parquet", b"question,answer\n")
    assert "cannot be read as Parquet after row 0 (" in complaint(tmp_path / "a.parquet", whole[: len(whole) // 2])


def test_paths_that_are_no_file_of_problems(tmp_path: Path) -> None:
    assert complaint(tmp_path / "a.xlsx", "[]").startswith(": problems are read from files that end in .jsonl")
    (tmp_path / "b.jsonl").mkdir()
    with pytest.raises(ProblemFileError, match=r"b\.jsonl cannot be read \(Is a directory\)"):
        list(read_rows(tmp_path / "b.jsonl"))
