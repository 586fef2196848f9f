"""What cannot be meant is refused by name, with what was expected and what was found."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import relens
from relens import objectives

Call = Callable[[relens.Retriever], Any]

TEXTS: list[tuple[Any, str]] = [
    (None, "texts: expected a text or a list of texts, found None"),
    ([], "texts: expected at least one text, found an empty list"),
    ("  ", "texts: expected a text with something in it"),
    (["a", None], "texts[1]: expected a text, found None"),
    (["a", ""], "texts[1]: expected a text with something in it"),
    ((text for text in ["a"]), "texts: expected a text or a list of texts, found a generator"),
    (b"a dog", "texts: expected a text or a list of texts, found a bytes"),
    (np.zeros((2, 3), np.float32), "found an array of float32 and the shape (2, 3)"),
    ({"a": 1}, "found a dict"),
    (["\ud800"], "texts[0]: expected a text in Unicode"),
    (7, "texts: expected a text or a list of texts, found 7"),
]

IMAGES: list[tuple[Any, str]] = [
    (None, "images: expected a picture or a list of pictures, found None"),
    ([], "images: expected at least one picture, found an empty list"),
    ([None], "images: expected a path, a PIL image or an array of pixels, found None"),
    (np.zeros((3, 8, 8), np.float32), "found an array of float32 and the shape (3, 8, 8)"),
    (np.zeros((8, 8), np.uint8), "expected uint8 pixels of the shape (height, width, 3)"),
    (np.zeros((8, 8, 4), np.uint8), "found an array of uint8 and the shape (8, 8, 4)"),
    (np.zeros((0, 8, 3), np.uint8), "found an array of uint8 and the shape (0, 8, 3)"),
    ((path for path in ["a.jpg"]), "found a generator"),
    ("a\0b.jpg", "images: expected a path, found one with a zero byte in it"),
]

VECTORS: list[tuple[Any, str]] = [
    (None, "a: expected a float32 array of one or two dimensions, found None"),
    (np.zeros((2, 3), np.int64), "found an array of int64 and the shape (2, 3)"),
    (np.zeros((2, 3), np.complex64), "found an array of complex64"),
    (np.zeros((2, 3, 4), np.float32), "and the shape (2, 3, 4)"),
    (np.zeros((0, 512), np.float32), "a: expected at least one vector"),
    (np.full((1, 512), np.nan, np.float32), "a: expected finite numbers, found NaN at row 0, component 0"),
    (np.zeros((1, 3), np.float32), "b: expected vectors of 3 components, as a has, found 512"),
    ([[1.0], [1.0, 2.0]], "a: expected vectors of one length"),
]


@pytest.mark.parametrize(("texts", "message"), TEXTS)
def test_texts_that_are_none(retriever: relens.Retriever, texts: Any, message: str) -> None:
    with pytest.raises(ValueError) as error:
        retriever.encode_text(texts)
    assert message in str(error.value)


@pytest.mark.parametrize(("images", "message"), IMAGES)
def test_pictures_that_are_none(retriever: relens.Retriever, images: Any, message: str) -> None:
    with pytest.raises(ValueError) as error:
        retriever.encode_image(images)
    assert message in str(error.value)


@pytest.mark.parametrize(("vectors", "message"), VECTORS)
def test_vectors_that_are_none(retriever: relens.Retriever, vectors: Any, message: str) -> None:
    with pytest.raises(ValueError) as error:
        retriever.similarity(vectors, np.zeros((1, 512), np.float32))
    assert message in str(error.value)


CALLS: list[tuple[Call, str]] = [
    (lambda r: r.encode_text("a", batch_size=0), "batch_size: expected a whole number of at least 1, found 0"),
    (lambda r: r.encode_text("a", batch_size=2.5), "batch_size: expected a whole number"),  # type: ignore[arg-type]
    (lambda r: r.encode_text("a", normalize=False), "normalize: expected True"),
    (lambda r: relens.Retriever(None), "model: expected a name or a path, found None"),  # type: ignore[arg-type]
    (lambda r: relens.Retriever("relens-mini", precision="int4"), "precision: expected"),  # type: ignore[arg-type]
    (lambda r: relens.Retriever("relens-mini", long_text="x"), "long_text: expected"),  # type: ignore[arg-type]
    (lambda r: relens.Enhancer("magic", r), "unknown enhancer `magic`; available: default, identity"),
    (lambda r: relens.Enhancer(7, r), "enhancer: expected a name, a path or a dictionary, found 7"),  # type: ignore[arg-type]
    (lambda r: relens.Enhancer("identity", 7), "retriever: expected a Retriever"),  # type: ignore[arg-type]
    (lambda r: relens.Enhancer("identity", r, combine="x"), "combine: expected a way of combining"),  # type: ignore[arg-type]
    (lambda r: relens.Enhancer("identity", r).rewrite(None), "query: expected a text"),  # type: ignore[call-overload]
    (lambda r: relens.Enhancer("identity", r).rewrite("a" * 40_000), "at most 32768 bytes"),
    (lambda r: relens.Library(None), "path: expected a path, found None"),  # type: ignore[arg-type]
    (lambda r: relens.Knowledge().get(3), "name: expected a text, found 3"),  # type: ignore[arg-type]
    (lambda r: relens.Knowledge().add("robot"), "expected what it has, or what it is"),
    (lambda r: relens.Knowledge().remove("no such thing at all"), "has no entity `no such thing at all`"),
    (lambda r: relens.compare({}, {}), "a: expected what evaluate returned, found a dict"),  # type: ignore[arg-type]
    (lambda r: objectives.pro_loss([0.0, 1.0], [1.0, 2.0]), "best first"),
    (lambda r: objectives.pro_loss([0.0, np.nan], [2.0, 1.0]), "mean_log_probs: expected finite numbers"),
    (lambda r: objectives.ppo_loss([0.0], [0.0, 1.0], [1.0]), "old log-probabilities"),
    (lambda r: objectives.gae(None, [1.0]), "rewards: expected numbers of one dimension, found None"),
    (lambda r: objectives.gae([1.0], [1.0], offsets=[0, 5]), "offsets"),
    (lambda r: objectives.group_advantages([1.0, 2.0, 3.0], 2), "groups of"),
    (lambda r: objectives.adaptive_kl(0.1, float("nan"), 6.0), "kl: expected a finite number, found nan"),
    (lambda r: relens.run(None), "recipe: expected a path, found None"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("call", "message"), CALLS)
def test_other_arguments(retriever: relens.Retriever, call: Call, message: str) -> None:
    with pytest.raises(ValueError) as error:
        call(retriever)
    assert message in str(error.value)


def test_a_model_that_is_not_there_and_no_network(tmp_path: Path) -> None:
    for name in ("no-such-model", str(tmp_path), "ViT-B-32/openai", "hf-hub:nobody/nothing"):
        with pytest.raises(relens.ModelError) as error:
            relens.Retriever(name, offline=True)
        assert name in str(error.value) and "relens-mini" in str(error.value)
    with pytest.raises(relens.RelensError):
        relens.Retriever("no-such-model")


def test_files_that_are_missing_or_no_pictures(retriever: relens.Retriever, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="missing.jpg"):
        retriever.encode_image(tmp_path / "missing.jpg")
    (tmp_path / "broken.jpg").write_text("no picture")
    with pytest.raises(relens.ModelError, match="broken.jpg"):
        retriever.encode_image([tmp_path / "broken.jpg"])


def test_paths_that_are_not_utf_8(retriever: relens.Retriever, pictures: list[Path], tmp_path: Path) -> None:
    path = os.path.join(os.fsencode(tmp_path), b"caf\xe9.jpg")
    try:
        with open(path, "wb") as file:
            file.write(pictures[0].read_bytes())
    except OSError:
        pytest.skip("this file system takes no such names")
    np.testing.assert_array_equal(retriever.encode_image(path), retriever.encode_image(pictures[0]))
    with relens.Library(tmp_path / "library", retriever) as library:
        assert library.index(tmp_path)["added"] == 1
        assert os.fsencode(library.search(pictures[0], k=1)[0].path) == path


def test_a_library_that_is_closed_or_not_there(retriever: relens.Retriever, tmp_path: Path, gallery: Path) -> None:
    library = relens.Library(tmp_path / "none", retriever)
    calls: list[Callable[[], object]] = [lambda: len(library), lambda: library.search("a dog"), library.vectors]
    for call in calls:
        with pytest.raises(relens.LibraryError, match="no library here"):
            call()
    library.close()
    for call in [*calls, lambda: library.index(gallery)]:
        with pytest.raises(relens.LibraryError, match="closed"):
            call()


def test_a_hundred_thousand_texts_need_no_more_memory_than_their_vectors(retriever: relens.Retriever) -> None:
    resource = pytest.importorskip("resource")
    texts = [f"{number}" for number in range(2_000)]
    retriever.encode_text(texts)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    texts = ["dog"] * 5_000
    vectors = retriever.encode_text(texts)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert grown < 3 * vectors.nbytes, f"{grown} bytes for {vectors.nbytes} of vectors"
