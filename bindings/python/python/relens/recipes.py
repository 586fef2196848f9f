"""Recipes and training stages: the command's own, started from here, with their metrics as they come."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from relens import _relens
from relens._arguments import described, path_of, refused

Stage = Literal[
    "retriever", "fine-tune", "adapter", "selection", "denoise", "sft", "pro", "ppo", "grpo", "gate", "calibration"
]

#: How often logs are looked at, in seconds.
_GLANCE = 0.05
#: How long Ctrl-C waits for the program to stop by itself, in seconds.
_PATIENCE = 0.15
#: How much of what the program said an error quotes.
_LINES_QUOTED = 10


class Run:
    """A recipe or a stage at work, in a process of its own.

    Iterating gives what is logged, as it is: each a dictionary, with ``run`` naming the run directory. ``wait()`` goes
    through all of it and gives the result. Ctrl-C, ``stop()`` and the end of a ``with`` block stop the program where
    nothing is lost: the same call goes on there.
    """

    def __init__(self, arguments: list[str], watched: Path) -> None:
        self._arguments = arguments
        self._logs = _Logs(watched)
        # Files, not pipes: whoever does not read must not stop the program.
        self._output = tempfile.TemporaryFile()
        self._errors = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            [program(), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._errors,
            # Ctrl-C in a terminal reaches a whole group, and a second one ends the program at once: it hears it from us.
            start_new_session=True,
        )

    def __iter__(self) -> Iterator[dict[str, Any]]:
        try:
            while self._process.poll() is None:
                yield from self._logs.new()
                time.sleep(_GLANCE)
        except BaseException:
            self.stop()
            raise
        yield from self._logs.new()
        self._check()

    def wait(self) -> Any:
        """Waits for the end, and returns what the program printed: an object of JSON.

        Raises:
            RelensError: if the program failed, with the last lines of what it said.
        """
        for _ in self:
            pass
        text = _read(self._output).strip()
        return json.loads(text) if text else None

    @property
    def running(self) -> bool:
        """Whether it is still at work."""
        return self._process.poll() is None

    def stop(self) -> None:
        """Asks the program to stop where nothing is lost, and waits a moment for it; it may finish its step behind."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                pass

    def _check(self) -> None:
        code = self._process.wait()
        if code == 0:
            return
        lines = [line for line in _read(self._errors).splitlines() if not line.startswith("progress ")]
        said = "\n".join(lines[-_LINES_QUOTED:])
        message = f"`relens {' '.join(self._arguments)}` ended with status {code}: {said}"
        if code == 2:
            raise ValueError(message)
        raise _relens.RelensError(message)

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


class _Logs:
    """The lines that runs below a directory add to their ``metrics.jsonl``."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        # What was logged before is not told again.
        self._read: dict[Path, int] = {path: path.stat().st_size for path in self._files()}

    def _files(self) -> list[Path]:
        return sorted(self._directory.rglob("metrics.jsonl")) if self._directory.is_dir() else []

    def new(self) -> Iterator[dict[str, Any]]:
        for path in self._files():
            start = self._read.get(path, 0)
            size = path.stat().st_size
            # A run that goes on after a kill cuts off what it does again.
            start = start if start <= size else 0
            with path.open("rb") as file:
                file.seek(start)
                block = file.read()
            whole, end, _ = block.rpartition(b"\n")
            self._read[path] = start + len(whole) + len(end)
            for line in whole.splitlines():
                record: dict[str, Any] = json.loads(line)
                yield {"run": str(path.parent.relative_to(self._directory)), **record}


def run(
    recipe: str | os.PathLike[str],
    overrides: Mapping[str, object] | None = None,
    *,
    until: str | None = None,
) -> Run:
    """Runs a recipe (``relens run``), or goes on with it.

    Args:
        recipe: a TOML file; ``configs/`` has some.
        overrides: other values for its variables; ``directory`` is where everything goes.
        until: run this stage and what it needs, nothing else.

    >>> for record in run("configs/mgqre.toml", {"directory": "runs/mgqre"}):  # doctest: +SKIP
    ...     print(record["run"], record["step"])
    """
    path = path_of("recipe", recipe)
    if overrides is not None and not isinstance(overrides, Mapping):
        raise refused("overrides", "a dictionary", described(overrides))
    values = {name: os.fspath(value) if isinstance(value, os.PathLike) else str(value)
              for name, value in (overrides or {}).items()}
    described_recipe = _relens.read_toml(path)
    directory = values.get("directory") or _filled(described_recipe, values)
    arguments = ["run", path, "--json"]
    for name, value in values.items():
        arguments += ["--set", f"{name}={value}"]
    if until is not None:
        arguments += ["--until", until]
    return Run(arguments, Path(directory))


def train(
    stage: Stage,
    config: str | os.PathLike[str],
    *,
    output: str | os.PathLike[str] | None = None,
    options: Mapping[str, object] | None = None,
) -> Run:
    """Runs one stage of training (``relens train``), or goes on with it.

    Args:
        stage: which, such as ``"sft"``.
        config: its TOML file.
        output: the run directory, in place of the configuration's.
        options: other options of the command, such as ``{"annotations": "captions.json"}``.
    """
    path = path_of("config", config)
    directory = path_of("output", _relens.read_toml(path).get("output") if output is None else output)
    arguments = ["train", str(stage), "--config", path, "--output", directory, "--resume", "--json"]
    for name, value in (options or {}).items():
        arguments += [f"--{name.replace('_', '-')}", str(value)]
    return Run(arguments, Path(directory))


def program() -> str:
    """The ``relens`` command: the one beside this interpreter, or on the PATH."""
    name = "relens.exe" if sys.platform == "win32" else "relens"
    for place in (sysconfig.get_path("scripts"), os.path.dirname(sys.executable)):
        path = os.path.join(place, name)
        if os.access(path, os.X_OK):
            return path
    found = shutil.which(name)
    if found is None:
        raise _relens.RelensError("the command `relens` is neither beside this interpreter nor on the PATH")
    return found


def _filled(recipe: Any, values: Mapping[str, str]) -> str:
    directory = str(recipe.get("directory", "."))
    for name, value in {**recipe.get("variables", {}), **values}.items():
        directory = directory.replace("{" + name + "}", str(value))
    return directory


def _read(file: Any) -> str:
    file.seek(0)
    return bytes(file.read()).decode("utf-8", "replace")
