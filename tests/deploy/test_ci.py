"""Gates for pipelines: files that parse, with commands and options that there are."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from detector.cli import app
from detector.distribution import install
from detector.hardening.defences import defence_of, split_names
from detector.hardening.theft import RANDOM
from detector.redteam.registry import ATTACKS

FOLDER = Path(__file__).parents[2] / "deploy" / "ci"
FILES = sorted(path.name for path in FOLDER.iterdir())


def scripts(content: Any) -> list[str]:
    """Return what is run, wherever it stands."""
    if isinstance(content, dict):
        runs = [content["run"]] if isinstance(content.get("run"), str) else []
        runs += [line for line in content.get("script", ()) if isinstance(line, str)]
        return runs + [line for value in content.values() for line in scripts(value)]
    return [line for entry in content for line in scripts(entry)] if isinstance(content, list) else []


@pytest.mark.parametrize("name", FILES)
def test_a_gate_runs_a_command_that_there_is(name: str) -> None:
    """With real options, defences and attacks, after an installation that has what it needs."""
    lines = scripts(yaml.safe_load((FOLDER / name).read_text(encoding="utf-8")))
    assert install("onnx") in lines
    (line,) = [line for line in lines if line.startswith("detector ")]
    words = line.split()
    bench: Any = get_command(app)
    command = bench.commands[words[1]]
    known = {option: parameter for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    given = {word: words[place + 1] for place, word in enumerate(words[:-1]) if word.startswith("--")}
    assert set(given) <= set(known)
    assert {"--fail-above", "--baseline", "--out"} <= set(given)
    for defence in split_names(given["--defences"]):
        assert defence_of(defence).name != "none"
    assert set(split_names(given["--attacks"])) <= {RANDOM, *ATTACKS}
    assert all(re.fullmatch(r"\d+", number) for number in given["--budgets"].split(","))


def test_both_kinds_of_pipeline_are_there() -> None:
    """And parse to what their servers read."""
    assert FILES == ["github-actions.yml", "gitlab-ci.yml"]
    github = yaml.safe_load((FOLDER / "github-actions.yml").read_text(encoding="utf-8"))
    assert {True, "jobs"} <= set(github)  # YAML 1.1 takes the key `on` for a truth
    assert all({"uses", "run"} & set(step) for step in github["jobs"]["bench"]["steps"])
    gitlab = yaml.safe_load((FOLDER / "gitlab-ci.yml").read_text(encoding="utf-8"))
    assert gitlab["extraction"]["artifacts"]["paths"] == ["bench"]
