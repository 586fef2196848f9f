"""A folder of pictures, made searchable."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Union

import numpy as np
from numpy.typing import NDArray

from relens import _relens
from relens._arguments import (
    Floats,
    ImageLike,
    count_of,
    described,
    path_of,
    picture_of,
    refused,
    texts_of,
    vectors_of,
)
from relens._progress import OnProgress, Progress
from relens.enhancer import Enhancer, Rewrite, enhancer_of, retriever_of, rewrite_of
from relens.knowledge import Knowledge
from relens.retriever import Retriever

if TYPE_CHECKING:
    import pandas
    import pyarrow

#: What is looked for: words, a picture, or a vector.
SearchQuery = Union[str, ImageLike, NDArray[np.float32]]


@dataclass(frozen=True)
class Picture:
    """A picture of a library.

    Attributes:
        id: its number in the library.
        path: its file.
        width: in pixels.
        height: in pixels.
        taken: when it was taken, by the camera's clock (which knows no time zone: UTC stands for it).
        camera: the camera.
    """

    id: int
    path: Path
    width: int
    height: int
    taken: datetime | None = None
    camera: str | None = None


@dataclass(frozen=True)
class Found:
    """A picture that was found.

    Attributes:
        picture: the picture.
        score: what ranks it.
        similarity: the cosine of query and picture.
        fits: the estimated probability that it is what was asked for, where the retriever has an estimate.
    """

    picture: Picture
    score: float
    similarity: float
    fits: float | None = None

    @property
    def path(self) -> Path:
        """The picture's file."""
        return self.picture.path


class Library:
    """Pictures that can be searched, on disk in a directory of their own.

    Args:
        path: the library's directory; :meth:`index` makes it.
        retriever: what makes vectors; the model that made the library if none is named.

    Raises:
        LibraryError: from its methods, if there is no library, another model made it, or it is closed.

    >>> import tempfile, relens
    >>> gallery = relens.data_directory("gallery")
    >>> with relens.Library(tempfile.mkdtemp()) as library:
    ...     summary = library.index(gallery)
    ...     found = library.search("paint brushes", k=1)
    >>> summary["added"], found[0].path.name
    (40, 'paint-brushes.jpg')
    """

    def __init__(self, path: str | os.PathLike[str], retriever: Retriever | str | None = None) -> None:
        self._path = Path(path_of("path", path))
        self._native = _relens.Library(os.fspath(self._path))
        self._retriever = None if retriever is None else retriever_of("retriever", retriever)
        self._enhancers: dict[tuple[str, float], Enhancer] = {}

    @property
    def path(self) -> Path:
        """The library's directory."""
        return self._path

    @property
    def retriever(self) -> Retriever:
        """What makes vectors: the one that was named, or the one that made the library."""
        if self._retriever is None:
            name, precision = _relens.Retriever.model_and_precision(self._native.model_name())
            self._retriever = Retriever(name, precision=precision)
        return self._retriever

    def index(
        self,
        directory: str | os.PathLike[str],
        *,
        batch_size: int = 32,
        follow_links: bool = False,
        verify: bool = False,
        rebuild: bool = False,
        on_progress: OnProgress = False,
    ) -> dict[str, int]:
        """Brings the library up to date with a folder: embeds what is new or changed, forgets what is gone.

        Every batch is kept when it is done: after Ctrl-C or a kill, the next call goes on there.

        Args:
            directory: the pictures.
            batch_size: pictures that are embedded and kept together.
            follow_links: whether symbolic links are followed.
            verify: whether the content of files is compared, too, whose size and time are as they were.
            rebuild: empty the library first, even if another model made it.
            on_progress: True for a bar, or a function that is given ``(task, done, total)``.

        Returns:
            ``{"added", "changed", "moved", "copied", "removed", "unchanged", "skipped", "unreadable", "images"}``.
        """
        if self._retriever is None:
            try:
                retriever = Retriever() if rebuild else self.retriever
            except _relens.LibraryError:
                # There is none yet.
                retriever = Retriever()
            self._retriever = retriever
        with Progress(on_progress) as progress:
            return self._native.index(
                path_of("directory", directory),
                self.retriever._native,
                count_of("batch_size", batch_size),
                bool(follow_links),
                bool(verify),
                bool(rebuild),
                progress,
            )

    def search(
        self,
        query: SearchQuery,
        k: int = 10,
        *,
        enhancer: Enhancer | str | os.PathLike[str] | Mapping[str, Any] | None = "default",
        filters: Mapping[str, str | Sequence[str]] | None = None,
        no_dates: bool = False,
    ) -> list[Found]:
        """The best pictures for words, for a picture, or for a vector.

        Args:
            query: words (a ``str``, which may hold conditions such as ``after:2023-06``); a picture (a ``pathlib.Path``,
                a PIL image, uint8 pixels ``(height, width, 3)``); or a float array ``(dim,)``.
            k: how many.
            enhancer: what rewrites words; None leaves them as they are.
            filters: conditions beside what pictures show: ``after``, ``before``, ``in``, ``-in``, ``camera``, ``near``,
                ``type``, with the values that ``relens search`` takes.
            no_dates: whether dates in words ("last summer", "in 2019") are read as any other words.

        Returns:
            The best first; fewer where there are fewer.
        """
        k, conditions = count_of("k", k), _conditions(filters)
        if isinstance(query, str):
            return self.search_with_rewrite(query, k, enhancer=enhancer, filters=filters, no_dates=no_dates)[0]
        if isinstance(query, np.ndarray) and query.dtype.kind == "f":
            vectors, single = vectors_of("query", query)
            if not single:
                raise refused("query", "one vector", described(query))
            vector = vectors[0]
        else:
            vector = self.retriever.encode_image([picture_of("query", query)])[0]
        return [_found(row) for row in self._native.search_vector(vector, k, conditions)]

    def search_with_rewrite(
        self,
        query: str,
        k: int = 10,
        *,
        enhancer: Enhancer | str | os.PathLike[str] | Mapping[str, Any] | None = "default",
        filters: Mapping[str, str | Sequence[str]] | None = None,
        no_dates: bool = False,
    ) -> tuple[list[Found], Rewrite]:
        """As :meth:`search` for words, with what they became."""
        texts, _ = texts_of("query", query)
        rows, enhanced = self._native.search_text(
            texts[0],
            count_of("k", k),
            self.retriever._native,
            self._opened(enhancer)._native,
            _conditions(filters),
            bool(no_dates),
        )
        return [_found(row) for row in rows], rewrite_of(texts[0], enhanced)

    def vectors(self) -> tuple[NDArray[np.uint64], Floats]:
        """All pictures' numbers, uint64 ``(n,)``, and vectors, float32 ``(n, dim)``."""
        return self._native.vectors()

    def remove(self, paths: Any) -> int:
        """Removes pictures by their paths (the files stay), and says how many there were."""
        several = paths if isinstance(paths, (list, tuple)) else [paths]
        return self._native.remove([path_of("paths", path) for path in several])

    def to_arrow(self, vectors: bool = True) -> pyarrow.Table:
        """The pictures as a table of pyarrow; the column ``vector`` is the array of :meth:`vectors`, not a copy."""
        import pyarrow

        pictures = list(self)
        columns: dict[str, Any] = {
            "id": pyarrow.array([picture.id for picture in pictures], pyarrow.uint64()),
            "path": [os.fsencode(picture.path).decode("utf-8", "replace") for picture in pictures],
            "width": pyarrow.array([picture.width for picture in pictures], pyarrow.uint32()),
            "height": pyarrow.array([picture.height for picture in pictures], pyarrow.uint32()),
            "taken": pyarrow.array([picture.taken for picture in pictures], pyarrow.timestamp("s", "UTC")),
            "camera": pyarrow.array([picture.camera for picture in pictures], pyarrow.string()),
        }
        if vectors:
            values = self.vectors()[1]
            flat = pyarrow.array(values.reshape(-1))
            columns["vector"] = pyarrow.FixedSizeListArray.from_arrays(flat, values.shape[1])
        return pyarrow.table(columns)

    def to_pandas(self) -> pandas.DataFrame:
        """The pictures as a data frame, without vectors: those are :meth:`vectors`, in the same order."""
        import pandas

        return pandas.DataFrame([vars(picture) for picture in self], columns=list(Picture.__annotations__))

    def close(self) -> None:
        """Closes the library; what is at work finishes first."""
        self._native.close()

    def _opened(self, enhancer: object) -> Enhancer:
        if not isinstance(enhancer, str):
            return enhancer_of("enhancer", enhancer, self.retriever)
        # A search a second must not read the files of its enhancer each time, but an edit counts from the next one on.
        key = (enhancer, _knowledge_changed())
        if key not in self._enhancers:
            self._enhancers = {key: enhancer_of("enhancer", enhancer, self.retriever)}
        return self._enhancers[key]

    def __iter__(self) -> Iterator[Picture]:
        return (_picture(row) for row in self._native.pictures())

    def __len__(self) -> int:
        return self._native.image_count()

    def __enter__(self) -> Library:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Library({str(self._path)!r})"


def _picture(row: tuple[int, Path, int, int, int | None, str | None]) -> Picture:
    number, path, width, height, taken, camera = row
    when = None if taken is None else datetime.fromtimestamp(taken, timezone.utc)
    return Picture(number, Path(path), width, height, when, camera)


def _found(row: _relens.FoundRow) -> Found:
    picture, score, similarity, fits = row
    # Vectors that were compared as they are rank by their cosine.
    return Found(_picture(picture), score, score if similarity is None else similarity, fits)


def _knowledge_changed() -> float:
    try:
        return Knowledge().path.stat().st_mtime
    except (OSError, ValueError):
        return 0.0


def _conditions(filters: object) -> list[tuple[str, str]]:
    if filters is None:
        return []
    if not isinstance(filters, Mapping):
        raise refused("filters", "a dictionary of conditions", described(filters))
    conditions = []
    for name, values in filters.items():
        for value in [values] if isinstance(values, str) else values:
            if not isinstance(name, str) or not isinstance(value, str):
                raise refused(f"filters[{name!r}]", "a text or a list of texts", described(value))
            conditions.append((name, value))
    return conditions
