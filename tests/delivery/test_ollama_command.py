"""The folder for Ollama: what the Modelfile says, and what it leaves to whoever asks."""

import shutil

import pytest
from delivery.llama_cpp_stand_in import checkout

from diotima.classroom.casting import Part, remember_part
from diotima.delivery.ollama_command import Settings, modelfile, run
from diotima.errors import PromptError, RunError, SettingsError
from diotima.models.folders import TINY
from diotima.prompt import load_prompt

PROBLEM = {"problem": "Tom has 3: boxes of 4.", "answer": "12", "solution": "3 * 4 = 12"}


@pytest.fixture
def export(tmp_path):
    """Export the tiny tutor, or another model, and read the Modelfile."""
    llama_cpp = checkout(tmp_path / "llama.cpp")

    def of(model="tiny", **changes):
        told = run(Settings(model=model, out=tmp_path / "tutor", llama_cpp=llama_cpp, **changes))
        return told, (tmp_path / "tutor/Modelfile").read_text()

    return of


def test_without_a_problem_the_prompt_lies_beside_and_there_is_no_system(export, tmp_path, capsys):
    told, text = export()
    assert sorted(path.name for path in (tmp_path / "tutor").iterdir()) == ["Modelfile", "prompt.md", "tutor.gguf"]
    assert "\nSYSTEM" not in text
    assert (tmp_path / "tutor/prompt.md").read_text() == "{{solution}}\nAnswer: {{answer}}\n"
    said = capsys.readouterr().out
    assert "({{answer}}, {{solution}})" in said
    assert f"ollama create tutor -f {tmp_path / 'tutor/Modelfile'}" in said
    assert told["out"] == str(tmp_path / "tutor")
    assert (told["template"], told["system"], told["context"]) == (True, False, 2048)


def test_with_a_problem_the_prompt_is_filled_as_in_a_lesson(export):
    _, text = export(**PROBLEM, temperature=0.5, context=1024)
    assert text.splitlines()[:2] == [
        "# tiny, f16; the tutor's prompt is tutor/tiny, which sees the solution.",
        "FROM ./tutor.gguf",
    ]
    assert 'SYSTEM """3 * 4 = 12\nAnswer: 12"""\n' in text
    assert 'PARAMETER stop "<|end|>"\nPARAMETER temperature 0.5\nPARAMETER num_ctx 1024\n' in text
    assert "PARAMETER top_k 0\nPARAMETER top_p 1\n" in text
    assert "REQUIRES" not in text


def test_a_tutor_that_thinks_is_told_so_here_too(export, tmp_path, capsys):
    shutil.copytree(TINY, tmp_path / "model")
    remember_part(tmp_path / "model", Part("tutor/tiny", "solution", "allowed"))
    _, text = export(str(tmp_path / "model"), **PROBLEM)
    told = load_prompt("tutor/thinking/allowed").text
    assert told in text
    assert told in (tmp_path / "tutor/prompt.md").read_text()
    assert "began with <think>" not in capsys.readouterr().out
    remember_part(tmp_path / "model", Part("tutor/tiny", "solution", "forced"))
    shutil.rmtree(tmp_path / "tutor")
    export(str(tmp_path / "model"), **PROBLEM)
    assert "began with <think> in lessons, and Ollama does not write that" in capsys.readouterr().out


def test_another_prompt_may_be_taken_but_none_that_sees_more(export):
    _, text = export(problem="What is 3 * 4?", tutor_prompt="tutor/socratic", tutor_sees="question")
    assert 'SYSTEM """You tutor one student, who works on this problem:\n\nWhat is 3 * 4?\n' in text
    with pytest.raises(PromptError, match="sees the question only"):
        export(**PROBLEM, tutor_sees="question")


def test_a_model_without_its_configuration_is_one_sentence(export, tmp_path):
    shutil.copytree(TINY, tmp_path / "model")
    (tmp_path / "model/config.json").unlink()
    with pytest.raises(RunError, match=r"config\.json cannot be read"):
        export(str(tmp_path / "model"))


def test_what_the_prompt_lacks_is_asked_for(export):
    with pytest.raises(SettingsError, match="--answer TEXT --solution TEXT"):
        export(problem="Tom has 3 boxes.")


@pytest.mark.parametrize("template", ["{{ messages[0].content | trim }}", "{{ strftime_now('%Y') }}"])
def test_a_template_that_go_cannot_say_stays_in_the_file(export, tmp_path, capsys, template):
    shutil.copytree(TINY, tmp_path / "model")
    path = tmp_path / "model/chat_template.jinja"
    own = path.read_text()
    trims = own.replace("message['content']", "message['content'] | trim").replace("| trim +", "| trim ~")
    path.write_text(own + template if "strftime" in template else trims)
    told, text = export(str(tmp_path / "model"))
    assert not told["template"]
    assert "TEMPLATE" not in text
    assert "\nREQUIRES 0.30.0\n" in text
    assert "OLLAMA_GO_TEMPLATE=0" in capsys.readouterr().out


def test_a_folder_that_holds_something_is_left_alone(export, tmp_path):
    (tmp_path / "tutor").mkdir()
    (tmp_path / "tutor/mine").touch()
    with pytest.raises(RunError, match="choose a new folder"):
        export()
    assert [path.name for path in (tmp_path / "tutor").iterdir()] == ["mine"]


@pytest.mark.parametrize("system", ['Say """', 'Say "yes"'])
def test_what_a_modelfile_cannot_say_is_refused(system):
    with pytest.raises(SettingsError, match="Modelfile cannot say"):
        modelfile(None, system, [], 1.0, 512, "a title")


def test_stop_texts_are_quoted():
    ends = ['<"end">', "\\end"]  # there are no escapes in a Modelfile
    assert 'PARAMETER stop "<"end">"\nPARAMETER stop "\\end"\n' in modelfile(None, "", ends, 1.0, 512, "a title")


def test_signs_that_ollama_drops_are_refused():
    with pytest.raises(SettingsError, match=r"holds U\+00A0 \(NO-BREAK SPACE\), which Ollama drops"):
        modelfile(None, "10\u00a0000 pears", [], 1.0, 512, "a title")
    assert "a\tb\n\N{COMBINING ACUTE ACCENT}\U0001f600" in modelfile(None, "a\tb\n\u0301\U0001f600", [], 1.0, 512, "t")
