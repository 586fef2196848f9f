"""Libraries: the same files and rankings as the command's."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import relens


@pytest.fixture(scope="module")
def library(retriever: relens.Retriever, gallery: Path, tmp_path_factory: pytest.TempPathFactory) -> relens.Library:
    library = relens.Library(tmp_path_factory.mktemp("library"), retriever)
    summary = library.index(gallery)
    assert (summary["added"], summary["images"], summary["skipped"]) == (40, 40, 0)
    return library


@pytest.mark.parametrize("query", ["paint brushs", "a beach without people", "animals in:gallery", "castle"])
def test_a_search_is_the_command_s(library: relens.Library, cli: Callable[..., str], query: str) -> None:
    expected = json.loads(cli("search", query, "--library", library.path, "--json", "-k", 7))
    found = library.search(query, k=7)
    assert [str(hit.path) for hit in found] == [hit["path"] for hit in expected]
    for hit, other in zip(found, expected):
        assert hit.score == np.float32(other["score"]) and hit.similarity == np.float32(other["similarity"])
        assert hit.fits == pytest.approx(other.get("fits"), abs=1e-6)


def test_pictures_and_vectors_are_looked_for_too(library: relens.Library, pictures: list[Path]) -> None:
    image = pytest.importorskip("PIL.Image")
    for picture in (pictures[3], image.open(pictures[3])):
        assert library.search(picture, k=1)[0].path == pictures[3]
    ids, vectors = library.vectors()
    assert ids.dtype == np.uint64 and vectors.dtype == np.float32
    assert vectors.shape == (40, library.retriever.dim)
    found = library.search(vectors[5], k=40)
    assert found[0].picture.id == ids[5] and len(found) == 40
    by_id = dict(zip(ids.tolist(), (vectors @ vectors[5]).tolist()))
    assert [hit.score for hit in found] == pytest.approx([by_id[hit.picture.id] for hit in found], abs=1e-6)


def test_what_was_rewritten_is_told(library: relens.Library) -> None:
    found, rewrite = library.search_with_rewrite("a castel", k=2)
    assert len(found) == 2 and "a castle" in rewrite.texts
    plain, kept = library.search_with_rewrite("a castel", k=2, enhancer=None)
    assert len(plain) == 2 and kept.texts == ("a castel",)


def test_conditions_are_kept(library: relens.Library, gallery: Path) -> None:
    assert library.search("a dog", filters={"before": "1900"}) == []
    assert len(library.search("a dog", k=40, filters={"in": ["gallery", "elsewhere"]})) == 40
    assert library.search(gallery / "dogs.jpg", filters={"-in": "gallery"}) == []
    with pytest.raises(ValueError, match="filter: expected"):
        library.search("a dog", filters={"after": "tomorrow"})
    with pytest.raises(ValueError, match="filters: expected a dictionary"):
        library.search("a dog", filters=["after"])  # type: ignore[arg-type]


def test_pictures_become_tables(library: relens.Library) -> None:
    pictures = list(library)
    assert len(pictures) == len(library) == 40 and all(picture.width > 0 for picture in pictures)
    pyarrow = pytest.importorskip("pyarrow")
    table = library.to_arrow()
    assert table.num_rows == 40 and table["path"][0].as_py() == str(pictures[0].path)
    assert table.schema.field("vector").type == pyarrow.list_(pyarrow.float32(), library.retriever.dim)
    values = library.vectors()[1]
    assert pyarrow.array(values.reshape(-1)).buffers()[1].address == values.ctypes.data, "not copied"
    pytest.importorskip("pandas")
    assert list(library.to_pandas()["id"]) == [picture.id for picture in pictures]


def test_a_library_is_brought_up_to_date(
    retriever: relens.Retriever, pictures: list[Path], tmp_path: Path, cli: Callable[..., str]
) -> None:
    folder, told = tmp_path / "pictures", []
    folder.mkdir()
    for picture in pictures[:3]:
        shutil.copy(picture, folder)
    library = relens.Library(tmp_path / "library")
    library.index(folder, on_progress=lambda task, done, total: told.append((task, done, total)))
    assert told[0] == ("index", 0, 3) and told[-1][1:] == (3, 3)
    (folder / pictures[0].name).unlink()
    (folder / "broken.jpg").write_text("no picture")
    summary = library.index(folder)
    assert (summary["removed"], summary["unchanged"], summary["skipped"]) == (1, 2, 1)
    # Another process adds one; a search sees it.
    shutil.copy(pictures[9], folder)
    cli("index", folder, "--library", library.path, "--quiet")
    assert library.search(pictures[9], k=1)[0].path == folder / pictures[9].name
    assert library.remove(folder / pictures[9].name) == 1 and len(library) == 2


def test_a_library_remembers_its_model(retriever: relens.Retriever, gallery: Path, tmp_path: Path) -> None:
    small = relens.Retriever("relens-mini", precision="int8")
    with relens.Library(tmp_path, small) as library:
        library.index(gallery)
    with relens.Library(tmp_path) as again:
        assert again.retriever.name == small.name and again.search("a dog", k=1)
    with relens.Library(tmp_path, retriever) as other:
        with pytest.raises(relens.LibraryError, match="made by model"):
            other.search("a dog")


def test_an_exception_while_progress_is_told_comes_through(
    retriever: relens.Retriever, gallery: Path, tmp_path: Path
) -> None:
    def refuse(task: str, done: int, total: int) -> None:
        raise KeyError(task)

    library = relens.Library(tmp_path, retriever)
    with pytest.raises(KeyError, match="index"):
        library.index(gallery, on_progress=refuse)
    assert library.index(gallery)["images"] == 40
