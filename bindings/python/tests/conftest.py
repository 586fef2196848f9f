"""What tests share: the bundled retriever, the gallery with captions, the command."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import relens

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home of our own, so that nothing of the person's is read or changed."""
    directory = tmp_path_factory.mktemp("home")
    os.environ["RELENS_HOME"] = str(directory)
    os.environ["HF_HUB_OFFLINE"] = "1"
    yield directory


@pytest.fixture(scope="session")
def retriever() -> relens.Retriever:
    return relens.Retriever("relens-mini")


@pytest.fixture(scope="session")
def gallery() -> Path:
    return ROOT / "gallery"


@pytest.fixture(scope="session")
def pictures(gallery: Path) -> list[Path]:
    return sorted(gallery.glob("*.jpg"))


@pytest.fixture(scope="session")
def captions() -> Path:
    """The pictures of the gallery with two captions each, in the splits val and train."""
    return Path(__file__).parent / "data" / "captions.jsonl"


@pytest.fixture(scope="session")
def cli(home: Path) -> Callable[..., Any]:
    """Runs the command, and returns its standard output."""
    program = os.environ.get("RELENS_PROGRAM") or shutil.which("relens")
    built = ROOT / "target" / "debug" / "relens"
    if program is None and built.exists():
        program = str(built)
    if program is None:
        pytest.skip("the command is not built: RELENS_PROGRAM names it")

    def run(*arguments: object, env: dict[str, str] | None = None) -> str:
        environment = {**os.environ, "RELENS_DATA": str(ROOT), **(env or {})}
        words = [str(argument) for argument in arguments]
        done = subprocess.run([program, *words], capture_output=True, text=True, env=environment, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    run.program = program  # type: ignore[attr-defined]
    return run


def json_lines(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]
