"""Records and mixes: what is read, what is learned, in which proportion, and every mistake in one sentence."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diotima.classroom.teach import Settings as TeachSettings
from diotima.classroom.teach import run as teach
from diotima.cli import stages
from diotima.dialogue import Message
from diotima.errors import ModelError, ProblemFileError, RunError, SettingsError
from diotima.models.folders import TINY
from diotima.models.local import load_local
from diotima.prompt import load_prompt
from diotima.recipe import find_recipe, load_recipe, play
from diotima.runs.run import Run
from diotima.training.records import Chat, chat_row, chats
from diotima.training.sft import Settings, check, run
from diotima.training.sources import Source, in_proportion, sources_of

GSM8K = Path(__file__).parents[3] / "shared" / "data" / "gsm8k" / "train.jsonl"


@pytest.fixture(scope="module")
def local():
    return load_local(TINY, "tiny")


def records(folder: Path, count: int = 12, name: str = "records.jsonl", **more) -> Path:
    rows = [{"content": f"What is {n} + {n}?", "summary": f"{n} + {n} = {2 * n}", **more} for n in range(count)]
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read_and_learned(row, local):
    """The text that is read and the text that is learned."""
    parts = zip(row["input_ids"], row["labels"], strict=True)
    pairs = list(parts)
    assert all(label in (-100, token) for token, label in pairs)
    return tuple(
        local.tokenizer.decode([token for token, label in pairs if (label != -100) == kind]) for kind in (0, 1)
    )


def test_a_question_is_read_with_the_files_prompt_and_its_solution_learned(tmp_path, local):
    found = chats(Source(records=records(tmp_path), prompt="solve/proof"))
    assert len(found) == 12
    for chat in found:
        read, learned = read_and_learned(chat_row(chat, local), local)
        system, question, solution = chat.messages
        assert (system.role, system.content) == ("system", load_prompt("solve/proof").text)
        assert learned == solution.content + local.tokenizer.eos_token
        assert read == local.tokenizer.decode(local.format.context([system, question]))


def test_parquet_holds_the_same_as_lines(tmp_path):
    from datasets import Dataset

    lines = records(tmp_path)
    Dataset.from_list([json.loads(line) for line in lines.read_text().splitlines()]).to_parquet(tmp_path / "r.parquet")
    found = chats(Source(records=tmp_path / "r.parquet"))
    assert [chat.messages for chat in found] == [chat.messages for chat in chats(Source(records=lines))]


def test_order_and_choice_follow_the_seed(tmp_path):
    path = records(tmp_path)

    def questions(**changes):
        return [chat.messages[-2].content for chat in chats(Source(records=path, **changes))]

    assert questions() == questions()
    assert questions(seed=1) != questions()
    assert sorted(questions(seed=1)) == sorted(questions())
    assert questions(most_records=5) == questions()[:5]


def test_of_several_prompts_one_is_drawn_and_one_may_take_the_questions_place(tmp_path):
    template = tmp_path / "template.md"
    template.write_text("Subject: {{subject}}. Solve this: {{question}}")
    path = records(tmp_path, 40, subject="arithmetic")
    found = chats(Source(records=path, prompt=("solve/steps", str(template))))
    whole = [chat for chat in found if len(chat.messages) == 2]
    assert 8 < len(whole) < 32
    assert all(chat.messages[0].content.startswith("Subject: arithmetic. Solve this: What is") for chat in whole)
    with pytest.raises(ProblemFileError, match=r"the field subject is missing or empty, and the prompt .* asks for it"):
        chats(Source(records=records(tmp_path, name="others.jsonl"), prompt=str(template)))


def test_a_share_of_questions_comes_with_another_one_solved(tmp_path, local):
    found = chats(Source(records=records(tmp_path, 200), one_shot=0.1))
    shown = [chat for chat in found if len(chat.messages) == 5]
    assert 8 <= len(shown) <= 35
    assert len(shown) + sum(len(chat.messages) == 3 for chat in found) == 200
    for chat in shown:
        _, example, solved, question, solution = chat.messages
        assert example.content != question.content
        assert solved.content.startswith(example.content.removeprefix("What is ").removesuffix("?"))
        _, learned = read_and_learned(chat_row(chat, local), local)
        assert learned == solution.content + local.tokenizer.eos_token


def test_gsm8ks_notes_to_the_calculator_are_taken_out(tmp_path):
    path = tmp_path / "gsm8k.jsonl"
    path.write_text(
        json.dumps({"question": "How many?", "answer": "It is 48/2 = <<48/2=24>>24 clips.\n#### 24"}) + "\n"
    )
    (chat,) = chats(Source(records=path))
    assert chat.messages[-1].content == "It is 48/2 = 24 clips.\n#### 24"


def test_real_records():
    if not GSM8K.is_file():
        pytest.skip("GSM8K is not here")
    found = chats(Source(records=GSM8K, most_records=50))
    assert len(found) == 50
    assert all("<<" not in chat.messages[-1].content for chat in found)


TALK = [
    {"role": "user", "content": "I have 3."},
    {"role": "assistant", "content": "What comes next?"},
    {"role": "user", "content": "4?"},
    {"role": "assistant", "content": "Yes."},
    {"role": "user", "content": "Thanks!"},
]


def conversations(folder: Path, *talks, **more) -> Path:
    path = folder / "talks.jsonl"
    path.write_text("".join(json.dumps({"messages": talk, **more}) + "\n" for talk in talks))
    return path


def test_of_a_conversation_all_that_the_assistant_says_is_learned(tmp_path, local):
    (chat,) = chats(Source(records=conversations(tmp_path, TALK)))
    row = chat_row(chat, local)
    read, learned = read_and_learned(row, local)
    end = local.tokenizer.eos_token
    assert learned == f"What comes next?{end}Yes.{end}"
    assert "I have 3." in read
    assert "4?" in read
    assert "Thanks!" not in read
    said = [Message(one["role"], one["content"]) for one in TALK[:1]]
    assert row["input_ids"][: len(local.format.context(said))] == list(local.format.context(said))


def test_a_conversation_may_be_put_under_a_prompt_and_begin_with_the_tutor(tmp_path, local):
    path = conversations(tmp_path, TALK[1:4], question="What is 3 + 1?")
    (chat,) = chats(Source(records=path, prompt="tutor/socratic"))
    assert chat.messages[0] == Message("system", load_prompt("tutor/socratic").fill(question="What is 3 + 1?"))
    _, learned = read_and_learned(chat_row(chat, local), local)
    assert learned.startswith("What comes next?")


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"messages": []}, "holds nothing that the assistant said"),
        ({"messages": TALK[:1]}, "holds nothing that the assistant said"),
        ({"messages": [TALK[0], TALK[0]]}, "message 2: after the user comes the user, where user and assistant must"),
        ({"messages": [TALK[0], {"role": "system", "content": "x"}]}, "message 2: after the user comes the system"),
        ({"messages": [{"from": "gpt", "value": "x"}]}, "message 1: it must be an object with role"),
        ({"messages": "hello"}, "the field messages must be a list of messages"),
        (
            {"problem": "What?", "working": "So."},
            r"no column is known to hold the solution; the columns are problem, wo",
        ),
        ({"question": "What?", "solution": ""}, "line 1: the field solution is missing or empty"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_place(tmp_path, row, sentence):
    path = tmp_path / "bad.jsonl"
    path.write_text(json.dumps(row) + "\n")
    with pytest.raises(ProblemFileError, match=f"bad.jsonl.*{sentence}"):
        chats(Source(records=path))


def test_columns_may_be_named(tmp_path):
    path = tmp_path / "named.jsonl"
    path.write_text(json.dumps({"q": "What?", "a": "That.", "messages": []}) + "\n")
    (chat,) = chats(Source(records=path, columns={"question": "q", "solution": "a"}))
    assert [message.content for message in chat.messages[1:]] == ["What?", "That."]
    with pytest.raises(SettingsError, match=r"columns\.question = qq: .* has none; did you mean q\?"):
        chats(Source(records=path, columns={"question": "qq"}))
    with pytest.raises(SettingsError, match="columns = answer: a column can hold the messages, question, solution"):
        chats(Source(records=path, columns={"answer": "a"}))
    with pytest.raises(SettingsError, match=r"records = .*nowhere.jsonl: there is no such file"):
        chats(Source(records=tmp_path / "nowhere.jsonl"))


def test_what_a_template_cannot_show_is_told_with_its_place(local):
    talk = Chat(
        tuple(Message(*one.values()) for one in (TALK[0], TALK[1], TALK[0], TALK[0], TALK[1])), 1, "talks, line 7"
    )
    with pytest.raises(ModelError, match=r"talks, line 7: .* can only go on after exactly one turn"):
        chat_row(talk, local)


@given(st.lists(st.tuples(st.integers(1, 40), st.floats(0.05, 20)), min_size=1, max_size=4))
def test_a_mix_keeps_its_proportion_and_takes_nothing_twice(sources):
    rows, weights = [list(range(size)) for size, _ in sources], [weight for _, weight in sources]
    chosen = in_proportion(rows, weights)
    assert all(some == whole[: len(some)] for some, whole in zip(chosen, rows, strict=True))
    assert any(len(some) == len(whole) for some, whole in zip(chosen, rows, strict=True))
    most = min(len(whole) / weight for whole, weight in zip(rows, weights, strict=True))
    for some, weight in zip(chosen, weights, strict=True):
        assert len(some) == 1 or len(some) == pytest.approx(most * weight, abs=1)
    assert in_proportion([*rows, [1, 2]], [*weights, None]) == [*chosen, [1, 2]]


def test_sources_of_a_mix_share_the_seed(tmp_path):
    own = Source(lessons=tmp_path, seed=3)
    mixed = sources_of(own, (Source(records=tmp_path), Source(records=tmp_path, seed=5)), "here")
    assert [source.seed for source in mixed] == [3, 3, 5]
    assert sources_of(Source(), (own,), "here")[0].lessons == tmp_path


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, "there is nothing to learn from; give lessons, records or a mix"),
        ({"lessons": "a", "records": "b"}, "a source has either lessons or records"),
        ({"lessons": "a", "mix": ({"weight": 2},)}, "a source has either lessons or records"),
        (
            {"lessons": "a", "one_shot": 0.1},
            "prompt, one_shot, most_records and columns are for records, and a is a run",
        ),
        ({"records": "a", "most_lessons": 5}, "keep, least and most_lessons are for the lessons of a run, and a is a"),
        ({"mix": ({"records": "a", "keep": {}},)}, "keep, least and most_lessons are for the lessons of a run"),
        ({"mix": ({"records": "a"},), "most_records": 5, "prompt": "b"}, "prompt and most_records would do nothing"),
    ],
)
def test_what_is_no_source_is_told_before_anything_is_loaded(tmp_path, changes, sentence):
    with pytest.raises(SettingsError, match=sentence):
        check(Settings(out=tmp_path / "sft", **changes))


@pytest.fixture(scope="module")
def guided(tmp_path_factory, request):
    out = tmp_path_factory.mktemp("lessons") / "run"
    return teach(TeachSettings(out=out, problems=request.getfixturevalue("problems"), tutor="scripted/guide"))


def trained(settings):
    """The run's metrics after a training."""
    run(settings)
    with Run.open(settings.out) as record:
        return {name: [value for _, value in values] for name, values in record.metrics().items()}


def test_ten_lessons_for_one_record(tmp_path, guided):
    trl = {"max_steps": 2, "per_device_train_batch_size": 4}
    settings = Settings(
        out=tmp_path / "sft", lessons=guided, keep={}, least={}, weight=10, threads=1, trl=trl,
        mix=({"records": records(tmp_path), "weight": 1},),
    )  # fmt: skip
    metrics = trained(settings)
    assert (metrics["lessons"], metrics["records"]) == ([24], [2])
    (tmp_path / "records.jsonl").write_text(json.dumps({"question": "Why?", "solution": "So."}) + "\n")
    with pytest.raises(RunError, match="rows_fingerprint"):
        run(settings)


def test_a_second_stage_on_records_learns_them(tmp_path):
    trl = {"num_train_epochs": 6, "per_device_train_batch_size": 4, "learning_rate": 3e-3}
    metrics = trained(Settings(out=tmp_path / "sft", records=records(tmp_path), threads=1, trl=trl))
    assert metrics["records"] == [12]
    assert metrics["loss"][-1] < 0.6 * metrics["loss"][0]


def test_the_published_recipe_plays_on_the_tiny_tutor(tmp_path):
    talks, solving = conversations(tmp_path, *[TALK] * 6, question="What is 3 + 1?"), records(tmp_path)
    changes = ["dialogues.model=tiny", f"dialogues.records={talks}"]
    changes.append(f"solving.mix=[{{records: {solving}, prompt: solve/steps, one_shot: 0.09, most_records: 4}}]")
    for stage in ("dialogues", "solving"):
        changes += [f"{stage}.trl.max_steps=1", f"{stage}.trl.gradient_accumulation_steps=1", f"{stage}.threads=1"]
    recipe = load_recipe(find_recipe("socraticlm-sft"), stages(), changes=changes)
    played = play(recipe, tmp_path / "run")
    for name, counted in (("dialogues", 6), ("solving", 4)):
        with Run.open(played / name) as record:
            assert record.metrics()["records"] == [(0, counted)]
        assert (played / name / "model" / "adapter_config.json").is_file()
    assert json.loads((played / "solving" / "model" / "tutor.json").read_text())["prompt"] == "tutor/socratic"


def test_records_that_are_too_long_are_counted_and_never_cut(tmp_path, local):
    path = records(tmp_path)
    lengths = sorted(len(chat_row(chat, local)["input_ids"]) for chat in chats(Source(records=path)))
    trl = {"max_steps": 1, "per_device_train_batch_size": 2, "max_length": lengths[5]}
    metrics = trained(Settings(out=tmp_path / "sft", records=path, threads=1, trl=trl))
    fit = sum(length <= lengths[5] for length in lengths)
    assert (metrics["records"], metrics["records_too_long"]) == ([fit], [12 - fit])
    with pytest.raises(RunError, match=r"none of the 12 records .* trl.max_length = 3 tokens, the shortest has"):
        run(Settings(out=tmp_path / "none", records=path, threads=1, trl={**trl, "max_length": 3}))
