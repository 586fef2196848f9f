"""Threads, forks, pickles and Ctrl-C."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import relens


def python(script: str, *arguments: object) -> str:
    """Runs a script in an interpreter of its own, and returns what it printed."""
    command = [sys.executable, "-c", textwrap.dedent(script), *(str(argument) for argument in arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_retriever_is_pickled_by_its_name() -> None:
    retriever = relens.Retriever("relens-mini", precision="int8")
    pickled = pickle.dumps(retriever)
    assert len(pickled) < 400
    again: relens.Retriever = pickle.loads(pickled)
    assert again.fingerprint == retriever.fingerprint
    np.testing.assert_array_equal(again.encode_text("a dog"), retriever.encode_text("a dog"))


def test_threads_share_a_retriever_and_a_library(
    retriever: relens.Retriever, gallery: Path, tmp_path: Path
) -> None:
    library = relens.Library(tmp_path, retriever)
    library.index(gallery)
    texts = [f"{number} dogs" for number in range(24)]
    expected = [retriever.encode_text(text) for text in texts]
    paths = [hit.path for hit in library.search("a castle")]
    with ThreadPoolExecutor(8) as pool:
        for vector, other in zip(pool.map(retriever.encode_text, texts), expected, strict=True):
            np.testing.assert_array_equal(vector, other)
        for found in pool.map(library.search, ["a castle"] * 16):
            assert [hit.path for hit in found] == paths


def test_other_threads_go_on_while_relens_computes() -> None:
    printed = python(
        """
        import threading, relens
        retriever = relens.Retriever()
        texts, counted, done = ["a dog in the snow"] * 500, 0, threading.Event()
        worker = threading.Thread(target=lambda: (retriever.encode_text(texts, batch_size=500), done.set()))
        worker.start()
        while not done.wait(0.001):
            counted += 1
        print(counted)
        """
    )
    assert int(printed) > 5, "the interpreter's lock was not free"


def test_ctrl_c_ends_a_call_and_loses_nothing(gallery: Path, tmp_path: Path) -> None:
    printed = python(
        """
        import os, signal, sys, threading, time, relens
        retriever = relens.Retriever()
        def interrupt_in(seconds):
            threading.Timer(seconds, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        library = relens.Library(sys.argv[2], retriever)
        calls = [
            lambda: retriever.encode_text(["a dog in the snow on a sunny day"] * 20000, batch_size=20000),
            lambda: library.index(sys.argv[1], batch_size=4),
        ]
        for call in calls:
            interrupt_in(0.2)
            try:
                call()
                print("finished")
            except KeyboardInterrupt:
                print("interrupted")
        print(library.index(sys.argv[1])["images"], retriever.encode_text("a dog").shape[0] == retriever.dim)
        """,
        gallery,
        tmp_path,
    )
    lines = printed.split("\n")
    assert lines[0] == "interrupted" and lines[1] in ("interrupted", "finished") and lines[2] == "40 True"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_use_after_a_fork_is_refused_before_it_is_not() -> None:
    printed = python(
        """
        import os, relens
        def child(work):
            number = os.fork()
            if number == 0:
                try:
                    print(work(), flush=True)
                except relens.RelensError as error:
                    print(type(error).__name__, str(error)[:55], flush=True)
                os._exit(0)
            os.waitpid(number, 0)
        child(lambda: relens.Retriever().encode_text("a dog").shape)
        retriever = relens.Retriever()
        child(lambda: retriever.encode_text("a dog"))
        child(lambda: relens.Retriever())
        child(lambda: len(relens.Library("nowhere")))
        child(lambda: relens.Knowledge().get("dog"))
        child(lambda: relens.objectives.pro_loss([0.0, 1.0], [1.0, 0.0]))
        """
    )
    first, *others = printed.splitlines()
    assert first.startswith("(") and len(others) == 5
    assert set(others) == {"RelensError this process was forked from one in which relens had "[:67]}


def test_workers_that_are_spawned_work(pictures: list[Path]) -> None:
    printed = python(
        """
        import multiprocessing, sys, relens
        if __name__ == "__main__":
            retriever = relens.Retriever()
            with multiprocessing.get_context("forkserver").Pool(1) as pool:
                print(pool.apply(retriever.encode_text, ("a dog",)).tolist() == retriever.encode_text("a dog").tolist())
        """
    )
    assert printed.strip() == "True"


def test_a_fault_inside_is_an_exception_and_no_abort() -> None:
    printed = python(
        """
        import relens
        for number in range(3):
            try:
                relens.Retriever("no-such-model", offline=True)
            except relens.ModelError as error:
                print("stack backtrace" in str(error) or "panicked" in str(error))
        """
    )
    assert printed.split() == ["False"] * 3
