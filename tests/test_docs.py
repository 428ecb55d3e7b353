"""What the documentation shows works: every command in it is understood, the Python example runs, recipes are valid."""

import re
import shlex
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from diotima import cli
from diotima.recipe import load_recipe, stage_settings
from diotima.settings import load_settings, read_yaml

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "DATA.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMANDS = [
    (page.name, line)
    for page in PAGES
    for block in re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL)
    for line in block.splitlines()
    if line.startswith("diotima ")
]


def test_there_are_commands_to_check():
    assert len(COMMANDS) > 10


@pytest.mark.parametrize(("page", "line"), COMMANDS)
def test_documented_command_is_understood(page, line, monkeypatch, capsys):
    called = []
    for command in cli.COMMANDS.values():
        monkeypatch.setattr(import_module(command.module), "run", lambda settings, *_: called.append(settings))
    monkeypatch.chdir(ROOT)
    assert cli.main(shlex.split(line)[1:]) == 0, capsys.readouterr().err
    assert len(called) == 1


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*.yaml")), ids=lambda path: path.stem)
def test_recipe_has_valid_settings(path, tmp_path):
    if "stages" not in read_yaml(path):  # of one training, which its first lines show
        module = import_module(
            cli.stages()[re.search(rf"diotima (train \w+) recipes/{path.name}", path.read_text())[1]]
        )
        module.check(load_settings(module.Settings, path, {"out": tmp_path}))
        return
    recipe = load_recipe(path, cli.stages())
    for stage in recipe.stages:
        stage_settings(recipe, stage, tmp_path, {other.name: tmp_path / other.name for other in recipe.stages})


def test_examples_in_python_run():
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert blocks
    for block in blocks:
        done = subprocess.run([sys.executable, "-c", block], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "sibling solved: " in done.stdout


def test_links_between_pages_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
