"""Uploading, by a stand-in of the hub: the card first, nothing whose licence is in doubt, private unless asked."""

import json
import shutil
from types import SimpleNamespace

import httpx2
import pytest

from diotima.classroom.casting import Part, remember_part
from diotima.delivery import hub_command
from diotima.delivery.hub_command import Settings, publish, run
from diotima.delivery.provenance import Data, Provenance, provenance
from diotima.dialogue import Dialogue
from diotima.errors import ModelError, RunError, SettingsError
from diotima.models.folders import TINY
from diotima.problems.files import write_problems
from diotima.problems.problem import Problem
from diotima.prompt import load_prompt
from diotima.runs.run import Run
from diotima.sandbox.world import World
from diotima.score import Score


class StandIn:
    """Writes down what it was asked."""

    def __init__(self, error: Exception | None = None) -> None:
        self.asked: list[tuple[str, dict]] = []
        self.error = error
        self.private = True

    def whoami(self):
        if self.error:
            raise self.error

    def create_repo(self, repo_id, **named):
        self.asked.append(("create_repo", {"repo_id": repo_id, **named}))
        self.private = self.private and named["private"]

    def repo_info(self, repo_id):
        return SimpleNamespace(private=self.private)

    def upload_file(self, **named):
        self.asked.append(("upload_file", named))

    def upload_folder(self, **named):
        self.asked.append(("upload_folder", named))


@pytest.fixture
def hub(monkeypatch):
    import huggingface_hub

    stand_in = StandIn()
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: stand_in)
    return stand_in


@pytest.fixture
def trained(tmp_path):
    """A model that was trained twice: on lessons about two sets, then on problems of the sandbox."""
    with Run.create(tmp_path / "lessons", stage="teach", settings={"tutor": "openai/gpt-4o"}, seed=0) as run:
        for number, source in enumerate(("gsm8k", "mathdial", "mathdial")):
            run.add(Dialogue(Problem(f"p{number}", "How many?", "1", source=source)), "gpt")
        run.finish()
    write_problems(World().problems(4, 0), tmp_path / "problems.jsonl")
    for name, settings in (
        ("sft", {"model": "hf/ORG/base", "lessons": str(tmp_path / "lessons"), "label": "gpt"}),
        ("grpo", {"model": str(tmp_path / "sft/model"), "problems": str(tmp_path / "problems.jsonl")}),
    ):
        with Run.create(tmp_path / name, stage=f"train {name}", settings=settings, seed=3) as run:
            run.finish()
        shutil.copytree(TINY, tmp_path / name / "model")
        (tmp_path / name / "model/README.md").unlink()
    return tmp_path / "grpo/model"


@pytest.fixture
def examined(tmp_path):
    """An examination of two lessons, of which one leaked."""
    with Run.create(tmp_path / "after", stage="evaluate", settings={"tutor": ["me"]}, seed=0) as run:
        for number in range(2):
            scores = {"leaked": Score(float(number)), "solved_sibling": Score(0.5)}
            run.add(Dialogue(Problem(f"p{number}", "How many?", "1")), "me", scores)
        run.finish()
    return tmp_path / "after"


def test_the_chain_is_walked_back_to_the_model_that_nobody_here_made(trained):
    origin = provenance(str(trained))
    assert origin.base == "hf/ORG/base"
    assert [step.manifest["stage"] for step in origin.steps] == ["train sft", "train grpo"]
    told = [(one.source, one.count, one.unit) for one in origin.data]
    assert told == [
        ("mathdial", 2, "lessons to choose from"),
        ("gsm8k", 1, "lessons to choose from"),
        ("sandbox", 4, "problems"),
    ]
    assert origin.data[0].words_of == ("openai/gpt-4o", "learner")


def test_every_source_of_a_mix_is_told(trained, tmp_path):
    (tmp_path / "solved.jsonl").write_text('{"question": "How many?", "answer": "It is 2.\\n#### 2"}\n')
    (tmp_path / "talk.jsonl").write_text('{"messages": []}\n')
    mix = [{"records": str(tmp_path / "solved.jsonl")}, {"records": str(tmp_path / "talk.jsonl")}]
    settings = {"model": "tiny", "lessons": str(tmp_path / "lessons"), "mix": mix}
    with Run.create(tmp_path / "mixed", stage="train sft", settings=settings, seed=0) as run:
        run.finish()
    told = [(one.source, one.count, one.unit) for one in provenance("tiny", tmp_path / "mixed").data]
    assert told[2:] == [("gsm8k", 1, "records"), ("talk.jsonl", None, "problems")]
    with Run.create(tmp_path / "odd", stage="train odd", settings={"model": "tiny"}, seed=0) as run:
        run.finish()
    assert [one.licence for one in provenance("tiny", tmp_path / "odd").data] == ["unknown"]


def test_what_is_gone_is_unknown_and_not_left_out(trained, tmp_path):
    shutil.rmtree(tmp_path / "lessons")
    (tmp_path / "problems.jsonl").unlink()
    origin = provenance(str(trained))
    assert [(one.count, one.licence) for one in origin.data] == [(None, "unknown"), (None, "unknown")]
    assert len(list(origin.concerns())) == 2
    assert provenance("tiny") == Provenance("tiny", ())
    shutil.move(trained, tmp_path / "moved")
    told = run(Settings(model=str(tmp_path / "moved"), name="me/tutor", licence="mit", dry_run=True))
    assert told["concerns"] == ["no run tells on what it was trained: name the run with --run, or its sets with --data"]
    shutil.rmtree(tmp_path / "sft")
    told = run(Settings(model="tiny", name="me/t", run=tmp_path / "grpo", card=tmp_path / "card.md", dry_run=True))
    assert f"no run tells on what {tmp_path}/sft/model was trained" in told["concerns"]
    card = (tmp_path / "card.md").read_text()
    assert "made of .../model by `train grpo`" in card
    assert str(tmp_path) not in card


def test_a_folder_is_traced_by_every_name_it_has(trained):
    assert provenance(f"hf/{trained}").steps == provenance(str(trained)).steps != ()


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("mathdial", "MathDial is under CC BY-SA 4.0"),
        ("math", "MATH is under MIT; may models trained on it be passed on? no, if"),
        ("tutorchat", "the licence of tutorchat is not known"),
        ("", "the licence of some of the training data is not known"),
        ("gsm8k", None),
        ("stepverify", None),
        ("sandbox", None),
    ],
)
def test_a_licence_in_doubt_is_a_sentence(source, told):
    concerns = list(Provenance("tiny", ()).concerns((Data(source),)))
    assert len(concerns) == (told is not None)
    assert told is None or concerns[0].startswith(told)


def test_a_dry_run_writes_the_card_and_asks_nobody(trained, examined, hub, capsys):
    told = run(Settings(model=str(trained), name="me/tutor", scores=(str(examined),), dry_run=True))
    assert hub.asked == []
    assert not told["uploaded"]
    card = (trained / "README.md").read_text()
    matter = card.split("---\n")[1]
    assert "base_model: ORG/base\n" in matter
    assert "license: unknown\n" in matter
    assert "made of hf/ORG/base by `train sft`, then `train grpo`" in card
    assert "| mathdial | 2 lessons to choose from | CC BY-SA 4.0 |" in card
    assert "written by learner, openai/gpt-4o" in card
    assert "| me | 2 | 50.0% (" in card
    assert "n=2 | 50.0% (" in card
    assert "> {{solution}}" in card
    assert str(trained.parents[1]) not in card
    assert "beware: MathDial is under CC BY-SA 4.0" in capsys.readouterr().err
    run(Settings(model=str(trained), name="me/tutor", dry_run=True))
    assert "has not been examined" in (trained / "README.md").read_text()


def test_the_card_has_the_whole_prompt_of_a_tutor_that_thinks(trained):
    remember_part(trained, Part("tutor/tiny", "solution", "forced"))
    run(Settings(model=str(trained), name="me/tutor", dry_run=True))
    assert load_prompt("tutor/thinking/forced").text.splitlines()[-1] in (trained / "README.md").read_text()


def test_report_json_gives_the_same_figures_as_its_run(trained, examined, tmp_path):
    from diotima.reports.collect import collect
    from diotima.reports.tables import plain

    (tmp_path / "report.json").write_text(json.dumps(plain(collect(examined, pairs=()))))
    assert hub_command.figures_of(tmp_path / "report.json") == hub_command.figures_of(examined)
    odd = ({}, {"tutors": []}, {"tutors": [1]}, {"tutors": [{"tutor": "me", "lessons": 1, "measures": {"leaked": 1}}]})
    for told in odd:
        (tmp_path / "report.json").write_text(json.dumps(told))
        with pytest.raises(RunError, match="no figures of tutors"):
            hub_command.figures_of(tmp_path / "report.json")


def test_nothing_is_uploaded_while_a_licence_is_in_doubt(trained, hub):
    with pytest.raises(SettingsError, match=r"is not uploaded: MathDial is under.*, and 1 more; give --checked"):
        run(Settings(model=str(trained), name="me/tutor"))
    assert hub.asked == []
    assert run(Settings(model=str(trained), name="me/tutor", checked=True))["uploaded"]


def test_the_card_goes_first_and_only_what_belongs_to_the_model_follows(trained, hub, tmp_path):
    shutil.rmtree(tmp_path / "sft")
    (trained / "training_args.bin").write_bytes(b"pickle")
    (trained / ".env").write_text("secret")
    settings = Settings(model=str(trained), name="me/tutor", licence="apache-2.0", checked=True)
    told = run(settings)
    assert [name for name, _ in hub.asked] == ["create_repo", "upload_file", "upload_folder"]
    created, card, files = (named for _, named in hub.asked)
    assert created == {"repo_id": "me/tutor", "private": True, "exist_ok": True}
    assert card["path_in_repo"] == "README.md"
    assert files["folder_path"] == str(trained)
    assert files["allow_patterns"] == told["files"]
    assert {"model.safetensors", "tutor.json", "chat_template.jinja"} <= set(told["files"])
    assert not {"training_args.bin", ".env", "README.md"} & set(told["files"])
    run(settings.model_copy(update={"public": True}))
    assert hub.asked[3][1]["private"] is False


def test_somebody_elses_readme_is_not_written_over(trained, tmp_path):
    (trained / "README.md").write_text("mine")
    with pytest.raises(RunError, match="--card FILE"):
        run(Settings(model=str(trained), name="me/tutor", dry_run=True))
    run(Settings(model=str(trained), name="me/tutor", dry_run=True, card=tmp_path / "card.md"))
    assert (trained / "README.md").read_text() == "mine"
    with pytest.raises(RunError, match="--card FILE"):
        run(Settings(model="tiny", name="me/tutor", dry_run=True))


def test_an_adapter_whose_base_is_a_folder_here_is_a_concern(trained):
    (trained / "adapter_config.json").write_text(
        json.dumps({"peft_type": "LORA", "base_model_name_or_path": str(TINY)})
    )
    told = run(Settings(model=str(trained), name="me/tutor", licence="mit", dry_run=True))
    assert any("which others do not have" in concern for concern in told["concerns"])
    assert "library_name: peft\n" in (trained / "README.md").read_text()
    (trained / "adapter_config.json").write_text('{"peft_type": "LORA", "base_model_name_or_path": 3}')
    told = run(Settings(model=str(trained), name="me/tutor", licence="mit", dry_run=True))
    assert "it is an adapter that does not say over which model" in told["concerns"]


@pytest.mark.parametrize("name", ["tutor", "me/", "me/a b", "https://huggingface.co/me/tutor"])
def test_a_name_is_an_organisation_and_a_name(name):
    with pytest.raises(SettingsError, match="ORG/NAME"):
        run(Settings(model="tiny", name=name))


def test_what_the_hub_says_is_one_sentence(tmp_path):
    from huggingface_hub.errors import LocalTokenNotFoundError

    given = ("me/tutor", tmp_path, tmp_path / "card.md", ["model.safetensors"])
    with pytest.raises(ModelError, match="nobody is logged in to the hub: hf auth login"):
        publish(StandIn(LocalTokenNotFoundError("Token is required")), *given, private=True)
    with pytest.raises(ModelError, match=r"the hub does not take it \(no route to host\)"):
        publish(StandIn(ConnectionError("no route to host\nand more")), *given, private=True)
    with pytest.raises(ModelError, match=r"the hub does not take it \(no such name\)"):
        publish(StandIn(httpx2.ConnectError("no such name")), *given, private=True)


def test_nothing_goes_to_a_place_that_everybody_sees_unless_it_is_asked_for(tmp_path):
    hub = StandIn()
    hub.private = False  # it is there already
    with pytest.raises(ModelError, match="everybody can see it: give --public, or another --name"):
        publish(hub, "me/tutor", tmp_path, tmp_path / "card.md", ["model.safetensors"], private=True)
    assert [name for name, _ in hub.asked] == ["create_repo"]
    publish(hub, "me/tutor", tmp_path, tmp_path / "card.md", ["a[1].json"], private=False)
    assert hub.asked[-1][1]["allow_patterns"] == ["a[[]1].json"]
