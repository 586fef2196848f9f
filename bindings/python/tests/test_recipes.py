"""Recipes and stages run the command; what they log comes as it is written."""

from __future__ import annotations

import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import relens
from relens import recipes

RECIPE = """
name = "small"
directory = "nowhere"

[variables]
file = "evd"

[[stage]]
name = "export"
command = ["kb", "export", "{directory}/{file}.jsonl"]
outputs = ["{file}.jsonl"]
"""

#: Logs three steps, the last after it was told to stop or a moment.
PROGRAM = """#!{python}
import pathlib, signal, sys, time
stopped = []
signal.signal(signal.SIGINT, lambda *_: stopped.append(1))
directory = pathlib.Path(sys.argv[sys.argv.index("--output") + 1]) / "stage"
directory.mkdir(parents=True, exist_ok=True)
with open(directory / "metrics.jsonl", "a") as log:
    for step in (1, 2, 3):
        log.write('{{"step": %d}}\\n' % step)
        log.flush()
        for _ in range(600 if step == 2 and "sft" in sys.argv else 1):
            if not stopped:
                time.sleep(0.05)
if "ppo" in sys.argv:
    print("error: no policy", file=sys.stderr)
    sys.exit(1)
print('{{"steps": 3}}')
"""


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program that logs as a training does; the path of a configuration for it."""
    program = tmp_path / "relens"
    program.write_text(PROGRAM.format(python=sys.executable))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(recipes, "program", lambda: str(program))
    config = tmp_path / "config.toml"
    config.write_text(f'output = "{tmp_path}/run"\n')
    return config


def test_a_recipe_runs_as_by_the_command(
    cli: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipes, "program", lambda: cli.program)  # type: ignore[attr-defined]
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(RECIPE)
    overrides = {"directory": tmp_path / "out", "file": "mine"}
    result = relens.run(recipe, overrides).wait()
    assert [(stage["stage"], stage["state"]) for stage in result["stages"]] == [("export", "ran")]
    assert (tmp_path / "out" / "mine.jsonl").stat().st_size > 1000
    again = relens.run(recipe, overrides, until="export").wait()
    assert again["stages"][0]["state"] == "skipped"
    with pytest.raises(relens.RelensError, match="expected one of the variables"):
        relens.run(recipe, {"magic": 1}).wait()


def test_what_is_logged_comes_while_it_is_written(stand_in: Path) -> None:
    assert [record["step"] for record in relens.train("pro", stand_in)] == [1, 2, 3]
    run = relens.train("pro", stand_in)
    assert run.wait() == {"steps": 3} and not run.running
    # A second run tells what is new.
    assert [record["run"] for record in relens.train("pro", stand_in)] == ["stage"] * 3


def test_a_run_is_stopped_where_nothing_is_lost(stand_in: Path) -> None:
    with relens.train("sft", stand_in) as run:
        first = next(iter(run))
        assert first == {"run": "stage", "step": 1}
    assert run.wait() == {"steps": 3}, "it was asked to stop and finished its step"


def test_a_run_that_fails_says_why(stand_in: Path) -> None:
    with pytest.raises(relens.RelensError, match="no policy"):
        relens.train("ppo", stand_in).wait()
    with pytest.raises(FileNotFoundError):
        relens.train("pro", "no-such-file.toml")
