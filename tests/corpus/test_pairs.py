import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from corpus.judged_runs import (
    BEST,
    EULER,
    FAIR,
    GOOD,
    JUDGE,
    PART,
    POOR,
    PROMPT,
    add_replies,
    context,
    judged,
    write_candidates,
)

from diotima.classroom.casting import PARTS
from diotima.corpus.pair_set import read_pairs
from diotima.corpus.pairs import Settings, run
from diotima.dialogue import STUDENT, TUTOR, Dialogue, Turn
from diotima.errors import PromptError, RunError, SettingsError
from diotima.problems.problem import Problem
from diotima.runs.judgements import keep_rubric
from diotima.runs.run import Run
from diotima.scoring.rubric import load_rubric, rubric_text
from diotima.settings import load_settings

REPLIES = [("What did you add?", BEST), ("You are fine.", FAIR), ("It is 2.", POOR)]


@pytest.fixture
def candidates(tmp_path: Path) -> Path:
    return write_candidates(tmp_path / "judged", [(context(number), REPLIES) for number in range(3)])


def settings(run: Path, **more: Any) -> Settings:
    return load_settings(Settings, None, {"run": run, "out": run.parent / "pairs", "rubric": "euler", **more})


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "pairs.jsonl").read_text().splitlines()]


def summary(folder: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return told


def test_a_pair_is_the_chat_that_the_tutor_read_and_two_replies(candidates: Path) -> None:
    first = rows(run(settings(candidates)))[0]
    assert first["prompt"] == [
        {"role": "system", "content": PROMPT.fill(question="How many are 0 and 1?")},
        {"role": "user", "content": "I got 0."},
        {"role": "assistant", "content": "How did you get there?"},
        {"role": "user", "content": "I just kept it."},
    ]
    assert first["chosen"] == [{"role": "assistant", "content": "What did you add?"}]
    assert first["rejected"] == [{"role": "assistant", "content": "It is 2."}]
    assert (first["chosen_score"], first["rejected_score"]) == ("1", "1/10")
    with Run.open(candidates) as judged_run:
        found = {record.dialogue.seed: record.dialogue.turns[-1].text for record in judged_run.records("ours")}
    assert found[first["chosen_seed"]] == "What did you add?"
    assert found[first["rejected_seed"]] == "It is 2."


def test_a_thought_belongs_to_the_reply(tmp_path: Path) -> None:
    thoughtful = Turn(TUTOR, "Why?", thought="it was kept", ends=True)
    path = write_candidates(tmp_path / "judged", [(context(1), [(thoughtful, BEST), ("No.", POOR)])])
    assert read_pairs(run(settings(path)))[0].chosen == "<think>it was kept</think>Why?<end_of_conversation>"


def test_the_set_is_read_back_by_ours_and_by_datasets(candidates: Path, tmp_path: Path) -> None:
    from datasets import load_dataset

    folder = run(settings(candidates))
    data = load_dataset(str(folder), cache_dir=str(tmp_path / "cache"), split="train")
    assert list(data) == rows(folder)
    assert len(data) == 3
    pairs = read_pairs(folder)
    assert [pair.chosen for pair in pairs] == [row["chosen"][0]["content"] for row in data]
    assert [[(m.role, m.content) for m in pair.prompt] for pair in pairs] == [
        [(m["role"], m["content"]) for m in row["prompt"]] for row in data
    ]
    assert read_pairs(folder / "pairs.parquet") == pairs


def test_every_context_is_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    contexts = [
        (context(0), REPLIES),
        (context(1), [("a?", BEST), ("b", None)]),
        (context(2), [("a?", FAIR), ("b", POOR)]),
        (context(3), [("a?", BEST), ("b?", BEST)]),
        (context(4), [("a?", BEST), ("a?", POOR)]),
        (context(5), [(Turn(TUTOR, "a?", cut=True), BEST), ("b", POOR)]),
    ]
    told = summary(run(settings(write_candidates(tmp_path / "judged", contexts))))
    assert (told["contexts"], told["candidates"], told["valid"], told["pairs"]) == (6, 13, 12, 1)
    assert told["dropped"] == {
        "with fewer than two valid candidates": 2,
        "with no candidate that is good enough": 1,
        "with a best and a worst too close to each other": 1,
        "with a best and a worst of the same text": 1,
    }
    assert told["scores"] == {"1/10": 4, "4/5": 2, "1": 6}
    assert told["cut_or_malformed"] == 1
    assert (told["chosen_words"], told["rejected_words"], told["chosen_longer"]) == (4, 3, 1)
    shown = " ".join(capsys.readouterr().out.split())
    assert "13, 12 of them with a verdict (92.3%); 1 cut off or malformed" in shown
    assert "2 contexts with fewer than two valid candidates 1 context with no candidate that is good enough" in shown
    assert "the chosen reply is the longer one in 100.0%" in shown


@pytest.mark.parametrize("above", ["0.8", 0.8, "4/5"])
def test_the_threshold_is_exact(tmp_path: Path, above: object) -> None:
    contexts = [(context(0), [("a?", FAIR), ("b", POOR)]), (context(1), [("a?", GOOD), ("b", POOR)])]
    path = write_candidates(tmp_path / "judged", contexts)
    assert [row["chosen_score"] for row in rows(run(settings(path, above=above)))] == ["9/10"]
    assert summary(tmp_path / "pairs")["above"] == "4/5"
    with pytest.raises(SettingsError, match="above = 'much': must be a number or a fraction"):
        settings(path, above="much")


def test_a_least_margin(tmp_path: Path) -> None:
    contexts = [(context(0), [("a?", BEST), ("b", GOOD)]), (context(1), [("a?", BEST), ("b", POOR)])]
    path = write_candidates(tmp_path / "judged", contexts)
    assert len(rows(run(settings(path, least_margin="1/10")))) == 2
    assert len(rows(run(settings(path, least_margin=0.11)))) == 1


def test_a_run_of_garbage_gives_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    garbage = write_candidates(tmp_path / "judged", [(context(n), [("a?", None), ("b", None)]) for n in range(4)])
    with pytest.raises(RunError, match="none of its 4 contexts gives a pair: 4 with fewer than two valid candidates"):
        run(settings(garbage))
    assert "(0.0%)" in capsys.readouterr().out
    assert not (tmp_path / "pairs").exists()
    (tmp_path / "pairs").mkdir()
    with pytest.raises(RunError, match="none of its 4 contexts"):
        run(settings(garbage))
    assert list((tmp_path / "pairs").iterdir()) == []


def test_two_contexts_with_one_prompt_give_one_pair(tmp_path: Path) -> None:
    first, again = context(1), context(2, "How many are 1 and 1?", "I got 1.")
    third = context(3, "How many are 1 and 1?", "I got 1.")
    path = write_candidates(tmp_path / "judged", [(first, REPLIES[1:]), (again, REPLIES), (third, REPLIES)])
    assert [row["problem_id"] for row in rows(run(settings(path)))] == ["p2"]
    assert summary(tmp_path / "pairs")["dropped"] == {
        "with the prompt of an earlier pair": 1,
        "with no candidate that is good enough": 1,
    }


def test_several_contexts_about_one_problem_stay_apart(tmp_path: Path) -> None:
    first = context(1)
    later = Dialogue(first.problem, (*first.turns, Turn(TUTOR, "Well?"), Turn(STUDENT, "Two.")), seed=7)
    path = write_candidates(tmp_path / "judged", [(first, REPLIES), (later, REPLIES[:1])])
    with Run.create(path, stage="score", settings=_made_of(path), seed=0) as run_again:
        add_replies(run_again, Dialogue(first.problem, first.turns, 8), [("Nonsense.", POOR)], "ours")
    assert [len(row["prompt"]) for row in rows(run(settings(path)))] == [4]
    assert summary(tmp_path / "pairs")["candidates"] == 5


def test_nothing_of_a_test_set_is_trained_on(tmp_path: Path, candidates: Path) -> None:
    same = context(0)
    reworded = Problem("other", "HOW many are 1 and 1 ?", "2")
    with Run.create(tmp_path / "test", stage="contexts", settings={}, seed=0) as held:
        held.add(same.stopped("context"), "test")
        held.add(Dialogue(reworded, (Turn(STUDENT, "Help!"),), 5, "context"), "test")
        held.finish()
    folder = run(settings(candidates, holdout=str(tmp_path / "test")))
    assert [row["problem_id"] for row in rows(folder)] == ["p2"]
    assert summary(folder)["dropped"] == {"in the held-out set": 2}
    assert f"held out: {tmp_path / 'test'}" in (folder / "README.md").read_text()


def test_a_file_can_be_held_out(tmp_path: Path, candidates: Path) -> None:
    chat = [{"role": "user", "content": turn.text} for turn in context(2).turns if turn.speaker == STUDENT]
    row = {"messages": chat, "question": context(2).problem.question}
    (tmp_path / "test.jsonl").write_text(json.dumps(row) + "\n")
    folder = run(settings(candidates, holdout=(str(tmp_path / "test.jsonl"),)))
    assert [row["problem_id"] for row in rows(folder)] == ["p0", "p1"]


def test_without_a_question_the_words_tell_what_is_held_out(tmp_path: Path) -> None:
    unasked = Dialogue(Problem("u", "", ""), (Turn(STUDENT, "What is a prime?"),), 3)
    other = Dialogue(Problem("v", "", ""), (Turn(STUDENT, "What is a set?"),), 4)
    path = write_candidates(tmp_path / "judged", [(unasked, REPLIES), (other, REPLIES)])
    with Run.create(tmp_path / "test", stage="contexts", settings={}, seed=0) as held:
        held.add(unasked.stopped("context"), "test")
        held.finish()
    folder = run(settings(path, holdout=(str(tmp_path / "test"),), tutor_prompt="tutor/context"))
    assert [row["problem_id"] for row in rows(folder)] == ["v"]


def test_judges_are_put_together_as_the_rubric_says_or_heard_alone(tmp_path: Path) -> None:
    path = write_candidates(tmp_path / "judged", [])
    with Run.create(path, stage="score", settings=_made_of(path), seed=0) as made:
        for number, (text, said, other) in enumerate([("a?", BEST, FAIR), ("b?", FAIR, BEST), ("c", POOR, POOR)]):
            turns = (*context(1).turns, Turn(TUTOR, text))
            both = [judged(said), judged(other, judge="vllm/j")]
            made.add(Dialogue(context(1).problem, turns, number), "ours", {}, both)
    assert rows(run(settings(path)))[0]["chosen_score"] == "9/10"
    assert rows(run(settings(path, judge="vllm/j")))[0]["chosen"][0]["content"] == "b?"
    assert summary(tmp_path / "pairs")["judges"] == ["vllm/j"]
    with pytest.raises(SettingsError, match="holds no verdict of vllm/k; did you mean vllm/j"):
        run(settings(path, judge="vllm/k"))
    assert len(rows(tmp_path / "pairs")) == 1  # of the set before


def test_only_what_was_said_about_the_candidate_counts(tmp_path: Path) -> None:
    path = write_candidates(tmp_path / "judged", [])
    with Run.create(path, stage="score", settings=_made_of(path), seed=0) as made:
        for number, (text, said) in enumerate(REPLIES):
            earlier = judged(POOR if text == "What did you add?" else BEST, position=1)
            made.add(
                Dialogue(context(1).problem, (*context(1).turns, Turn(TUTOR, text)), number),
                "ours",
                {},
                [earlier, judged(said)],
            )
    assert rows(run(settings(path)))[0]["chosen"][0]["content"] == "What did you add?"


def test_the_rubric_is_the_one_of_then(tmp_path: Path, candidates: Path) -> None:
    own = tmp_path / "own.md"
    own.write_text(
        "---\njudges: dialogue\ncriteria:\n  fine: {labels: {'yes': 1, 'no': 0}}\n---\n{{transcript}} {{form}}\n"
    )
    then = load_rubric(str(own))
    with Run.create(candidates, stage="score", settings=_made_of(candidates), seed=0) as made:
        keep_rubric(candidates, "own", then.fingerprint, rubric_text(then))
        for number, label in enumerate(("yes", "no")):
            said = judged({"fine": label}, position=-1)
            verdict = type(said)("own", then.fingerprint, JUDGE, -1, 0, "valid", {"fine": label}, "", 1)
            turn = Turn(TUTOR, f"reply {number}")
            made.add(Dialogue(context(9).problem, (*context(9).turns, turn), number), "ours", {}, [verdict])
    own.unlink()
    folder = run(settings(candidates, rubric="own"))
    assert [row["chosen"][0]["content"] for row in rows(folder)] == ["reply 0"]
    assert summary(folder)["rubric_fingerprint"] == then.fingerprint
    with pytest.raises(RunError, match="no judgements under the rubric leak, only under euler, own"):
        run(settings(candidates, rubric="leak"))
    with pytest.raises(SettingsError, match="measure reveal_answer is better the lower it is"):
        run(settings(candidates, measure="reveal_answer"))
    with pytest.raises(PromptError, match="has no measure helpfull; did you mean helpful"):
        run(settings(candidates, measure="helpfull"))


def test_who_judges_itself_is_told(candidates: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made_of = {PARTS: {"ours": {"tutor": JUDGE, **PART}}, "student_names": []}
    path = write_candidates(tmp_path / "own" / "judged", [(context(1), REPLIES)], settings=made_of)
    folder = run(settings(path))
    assert f"{JUDGE} judges itself" in capsys.readouterr().err
    assert "beware: openai/gpt-4o judges itself" in (folder / "README.md").read_text()
    run(settings(candidates))
    assert "judges itself" not in capsys.readouterr().err


def test_candidates_of_two_tutors_stand_side_by_side(tmp_path: Path) -> None:
    parts = {label: {"tutor": label, **PART} for label in ("weak", "strong")}
    path = write_candidates(tmp_path / "judged", [], settings={PARTS: parts, "student_names": []})
    with Run.create(path, stage="score", settings=_made_of(path), seed=0) as made:
        for number in range(3):
            add_replies(made, context(number), [(f"weak {number}", POOR), (f"weaker {number}", POOR)], "weak")
            add_replies(made, context(number), [(f"strong {number}", BEST)], "strong")
    folder = run(settings(path))
    assert [(row["chosen_tutor"], row["rejected_tutor"]) for row in rows(folder)] == [("strong", "weak")] * 3
    with pytest.raises(RunError, match="none of its 3 contexts"):
        run(settings(path, label="weak"))
    with pytest.raises(SettingsError, match="holds no candidates of week; did you mean weak"):
        run(settings(path, label="week"))


def test_a_prompt_that_is_not_known_has_to_be_said(tmp_path: Path) -> None:
    scripted = {"good": {"tutor": "scripted/guide"}}
    path = write_candidates(tmp_path / "judged", [(context(1), REPLIES)], "good", {PARTS: scripted})
    with pytest.raises(RunError, match=r"scripted tutors have none.*--tutor-prompt"):
        run(settings(path))
    folder = run(settings(path, tutor_prompt="tutor/context"))
    assert rows(folder)[0]["prompt"][0]["content"].startswith("You are a tutor in the middle of a conversation")
    assert summary(folder)["prompt"]["name"] == "tutor/context"
    with pytest.raises(PromptError, match="prompt tutor/tiny uses solution"):
        run(settings(path, tutor_prompt="tutor/tiny", tutor_sees="answer"))
    with pytest.raises(PromptError, match="uses the solution, which 1 of 1 contexts do not have"):
        run(settings(path, tutor_prompt="tutor/tiny", tutor_sees="solution"))


def test_tutors_with_different_prompts_do_not_share_a_pair(tmp_path: Path) -> None:
    parts = {"one": {"tutor": "a", **PART}, "two": {"tutor": "b", **PART, "text": "Another prompt."}}
    path = write_candidates(tmp_path / "judged", [(context(1), REPLIES)], "one", {PARTS: parts})
    with Run.create(path, stage="score", settings=_made_of(path), seed=0) as made:
        add_replies(made, context(1), REPLIES, "two")
    with pytest.raises(RunError, match=r"made with different prompts.*choose a --label"):
        run(settings(path))
    assert rows(run(settings(path, label="two")))[0]["prompt"][0]["content"] == "Another prompt."


def test_a_lesson_is_no_candidate(tmp_path: Path) -> None:
    path = write_candidates(tmp_path / "judged", [(context(1), REPLIES)])
    with Run.create(path, stage="score", settings=_made_of(path), seed=0) as made:
        made.add(context(1), "ours")
    with pytest.raises(RunError, match="a dialogue on p1 does not end with a tutor's turn"):
        run(settings(path))


def test_the_set_is_made_anew_and_nothing_else_is_overwritten(candidates: Path) -> None:
    folder = run(settings(candidates))
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "README.md"}
    run(settings(candidates))
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "README.md"} == before
    with pytest.raises(RunError, match="holds something that is no set of pairs"):
        run(settings(candidates, out=candidates))


def test_the_card_says_how_and_from_what(candidates: Path) -> None:
    card = (run(settings(candidates)) / "README.md").read_text()
    front = yaml.safe_load(card.split("---")[1])
    assert front["license"] == "mit"
    assert front["configs"][0]["data_files"] == [{"split": "train", "path": "pairs.parquet"}]
    assert "&id" not in card
    for said in ("3 preference pairs", JUDGE, f"euler (fingerprint {EULER.fingerprint})", "GSM8K", "ours (vllm/m)"):
        assert said in card
    assert "> {{question}}" in card


def _made_of(path: Path) -> dict[str, Any]:
    made_of: dict[str, Any] = json.loads((path / "manifest.json").read_text())["settings"]
    return made_of
