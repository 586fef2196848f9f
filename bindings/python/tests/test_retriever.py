"""Vectors are the command's to the last bit, whatever form inputs have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import json_lines

import relens

TEXTS = ["two dogs in the snow", "a birthday cake", "naïve café ☕", "word " * 300]


def test_vectors_equal_those_of_the_command_to_the_last_bit(
    retriever: relens.Retriever, cli: Callable[..., str], pictures: list[Path]
) -> None:
    arguments: list[Any] = ["embed", "--json", "--model", "relens-mini"]
    for text in TEXTS:
        arguments += ["--text", text]
    for picture in pictures:
        arguments += ["--image", picture]
    lines = json_lines(cli(*arguments))
    vectors = {kind: [line["embedding"] for line in lines if line["kind"] == kind] for kind in ("image", "text")}
    np.testing.assert_array_equal(retriever.encode_text(TEXTS), np.array(vectors["text"], np.float32))
    np.testing.assert_array_equal(retriever.encode_image(pictures), np.array(vectors["image"], np.float32))


def test_one_input_gives_one_vector_of_length_one(retriever: relens.Retriever, pictures: list[Path]) -> None:
    text, picture = retriever.encode_text(TEXTS[0]), retriever.encode_image(pictures[0])
    assert text.shape == picture.shape == (retriever.dim,)
    assert text.dtype == picture.dtype == np.float32
    np.testing.assert_allclose([text @ text, picture @ picture], 1, atol=1e-5)
    np.testing.assert_array_equal(text, retriever.encode_text(TEXTS)[0])


def test_batches_and_forms_of_lists_change_nothing(retriever: relens.Retriever) -> None:
    expected = retriever.encode_text(TEXTS)
    for texts in (tuple(TEXTS), np.array(TEXTS), np.array(TEXTS, dtype=object)):
        np.testing.assert_array_equal(expected, retriever.encode_text(texts, batch_size=3))


def test_pictures_may_be_paths_arrays_or_pil_images(retriever: relens.Retriever, pictures: list[Path]) -> None:
    image = pytest.importorskip("PIL.Image")
    opened = [image.open(path) for path in pictures[:4]]
    arrays = [np.asarray(picture.convert("RGB")) for picture in opened]
    expected = retriever.encode_image(arrays)
    np.testing.assert_array_equal(expected, retriever.encode_image(opened))
    # In a batch of another size, sums are rounded otherwise.
    np.testing.assert_allclose(expected[0], retriever.encode_image(arrays[0]), atol=1e-6)
    np.testing.assert_allclose(expected[0], retriever.encode_image(np.stack([arrays[0]] * 2))[0], atol=1e-6)
    mixed = retriever.encode_image([arrays[0], str(pictures[1]), opened[2], pictures[3]])
    # JPEGs are decoded by another library, which may round otherwise.
    np.testing.assert_allclose(np.sum(expected * mixed, axis=1), 1, atol=2e-3)


def test_arrays_are_read_where_they_lie(retriever: relens.Retriever) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    turned = np.asfortranarray(pixels)
    np.testing.assert_array_equal(retriever.encode_image(pixels), retriever.encode_image(turned))
    pixels.flags.writeable = False
    assert retriever.encode_image(pixels).shape == (retriever.dim,)


def test_transparent_pictures_lie_on_white(retriever: relens.Retriever, tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    picture = image.new("RGBA", (300, 300), (255, 0, 0, 0))
    picture.save(tmp_path / "clear.png")
    white = np.full((300, 300, 3), 255, np.uint8)
    for form in (picture, tmp_path / "clear.png"):
        np.testing.assert_array_equal(retriever.encode_image(white), retriever.encode_image(form))


def test_similarity_is_the_search_s_own_dot_product(retriever: relens.Retriever) -> None:
    vectors = retriever.encode_text(TEXTS)
    scores = retriever.similarity(vectors, vectors)
    assert scores.shape == (4, 4)
    np.testing.assert_allclose(scores, vectors @ vectors.T, atol=1e-6)
    np.testing.assert_array_equal(scores[:1], relens.similarity(vectors[0], vectors))
    np.testing.assert_allclose(relens.similarity(vectors.astype(np.float64), vectors), scores, atol=1e-6)


def test_int8_is_another_model_and_near(retriever: relens.Retriever) -> None:
    small = relens.Retriever("relens-mini", precision="int8")
    assert small.fingerprint != retriever.fingerprint and small.name.endswith("(int8)")
    cosines = np.sum(small.encode_text(TEXTS) * retriever.encode_text(TEXTS), axis=1)
    assert cosines.min() > 0.97


def test_sentence_transformers_names_of_arguments_are_taken(
    retriever: relens.Retriever, pictures: list[Path]
) -> None:
    image = pytest.importorskip("PIL.Image")
    vectors = retriever.encode(TEXTS, batch_size=2, show_progress_bar=False, normalize_embeddings=True, device="cpu")
    np.testing.assert_array_equal(vectors, retriever.encode_text(TEXTS))
    opened = image.open(pictures[0])
    np.testing.assert_array_equal(retriever.encode([opened]), retriever.encode_image([opened]))


def test_progress_is_told(retriever: relens.Retriever, capsys: pytest.CaptureFixture[str]) -> None:
    retriever.encode_text(TEXTS, batch_size=2, show_progress_bar=True)
    assert "4/4" in capsys.readouterr().err


def test_what_lost_its_end_is_counted() -> None:
    retriever = relens.Retriever("relens-mini")
    retriever.encode_text(TEXTS)
    assert retriever.truncated_texts == 1
    windows = relens.Retriever("relens-mini", long_text="mean_of_windows")
    assert not np.array_equal(windows.encode_text(TEXTS[3]), retriever.encode_text(TEXTS[3]))
