"""What the documentation shows is what happens; types are right; the notebook and the examples run."""

from __future__ import annotations

import doctest
import importlib
import importlib.util
import json
import os
import pkgutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

import relens

MODULES = [
    f"relens.{module.name}"
    for module in pkgutil.iter_modules(relens.__path__)
    if not module.name.startswith("_") and module.name != "adapters"
]


@pytest.fixture(autouse=True)
def in_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def test_the_page_on_python_runs() -> None:
    failed, tried = doctest.testfile(str(ROOT / "docs" / "python.md"), module_relative=False)
    assert failed == 0 and tried > 25


@pytest.mark.parametrize("name", ["relens", *MODULES])
def test_examples_in_docstrings_run(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_everything_public_is_documented() -> None:
    for name in relens.__all__:
        value = getattr(relens, name)
        members = vars(value).items() if isinstance(value, type) else []
        public = [value, *(member for key, member in members if not key.startswith("_") and callable(member))]
        for documented in public:
            assert not callable(documented) or documented.__doc__, f"{name}: {documented}"


def test_the_readme_s_lines_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    readmes = [ROOT / "bindings" / "python" / "README.md", ROOT / "README.md"]
    lines, others = (path.read_text().split("```python\n")[1].split("```")[0] for path in readmes)
    assert lines == others
    exec(compile(lines, "README.md", "exec"), {})


def test_the_notebook_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """Its cells one after the other; with Jupyter, nbclient does the same (`just notebook`)."""
    notebook = json.loads((ROOT / "examples" / "rewriting.ipynb").read_text())
    names: dict[str, Any] = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), "rewriting.ipynb", "exec"), names)
    assert "a castle beside the water" in capsys.readouterr().out


def test_types_are_strict() -> None:
    pytest.importorskip("mypy")
    package, examples = ROOT / "bindings" / "python" / "python", ROOT / "examples"
    config = ROOT / "bindings" / "python" / "pyproject.toml"
    environment = {**os.environ, "MYPYPATH": str(package)}
    command = [sys.executable, "-m", "mypy", "--config-file", str(config), "--cache-dir", os.devnull]
    paths = [str(package / "relens"), str(examples)]
    done = subprocess.run([*command, *paths], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_stubs_are_what_the_module_has() -> None:
    pytest.importorskip("mypy")
    command = [sys.executable, "-m", "mypy.stubtest", "relens._relens"]
    package = Path(relens.__path__[0]).parent
    environment = {**os.environ, "MYPYPATH": str(package)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=package, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_demo_searches(gallery: Path, tmp_path: Path) -> None:
    pytest.importorskip("gradio")
    spec = importlib.util.spec_from_file_location("demo", ROOT / "examples" / "gradio_demo.py")
    assert spec is not None and spec.loader is not None
    demo = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(demo)
    with relens.Library(tmp_path) as library:
        library.index(gallery)
        shown, read = demo.search_in(library, "paint brushs", True)
        assert shown[0][0].endswith("paint-brushes.jpg") and "paint brushes" in read
        demo.page(library)
