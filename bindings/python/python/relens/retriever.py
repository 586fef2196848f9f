"""Texts and pictures into vectors of one space."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from relens import _relens
from relens._arguments import (
    Floats,
    ImageLike,
    count_of,
    described,
    picture_of,
    pictures_of,
    refused,
    texts_of,
    vectors_of,
)
from relens._progress import Progress

Precision = Literal["float32", "int8"]
LongText = Literal["truncate", "mean_of_windows"]


class Retriever:
    """A dual encoder: CLIP, SigLIP, CoCa, EVA-02, Chinese-CLIP, or a small one that comes with relens.

    Args:
        model: ``"relens-mini"`` (bundled), open_clip's ``"ViT-B-32/openai"``, ``"hf-hub:organisation/name"``, or the
            path of a model directory. What is not on this computer is downloaded.
        precision: ``"int8"`` computes transformers about twice as fast and a little less exactly. Its vectors are not
            to be compared with those of ``"float32"``.
        long_text: what happens to a text beyond the model's context: its end is left out, or it becomes the mean of
            windows.
        offline: download nothing. ``HF_HUB_OFFLINE=1`` says the same for the whole process.
        show_progress_bar: whether downloads are shown.

    Raises:
        ModelError: if there is no such model, or it cannot be downloaded, or its files are malformed.

    A retriever may be used by several threads at once, and is pickled by its name: who unpickles it opens the model. In
    a process that was forked after relens had begun to work, every use is refused with a :class:`RelensError`.

    >>> from relens import Retriever
    >>> retriever = Retriever("relens-mini")
    >>> retriever.encode_text("two dogs in the snow").shape
    (512,)
    """

    def __init__(
        self,
        model: str | os.PathLike[str] = "relens-mini",
        *,
        precision: Precision = "float32",
        long_text: LongText = "truncate",
        offline: bool = False,
        show_progress_bar: bool = False,
    ) -> None:
        if not isinstance(model, (str, os.PathLike)) or not os.fspath(model):
            raise refused("model", "a name or a path", described(model))
        self._model = os.fsdecode(model)
        self._settings: dict[str, Any] = {"precision": precision, "long_text": long_text, "offline": offline}
        with Progress(bool(show_progress_bar)) as progress:
            self._native = _relens.Retriever(
                self._model, str(precision), str(long_text), bool(offline), progress
            )

    @property
    def name(self) -> str:
        """What the model is called; ``(int8)`` at the end says its precision."""
        return self._native.name

    @property
    def fingerprint(self) -> str:
        """A hash of everything that decides the vectors: those of equal fingerprints may be compared."""
        return self._native.fingerprint

    @property
    def dim(self) -> int:
        """Components of a vector."""
        return self._native.dim

    @property
    def logit_scale(self) -> float:
        """The logarithm of the learned temperature; ``exp(logit_scale)`` multiplied cosines in training."""
        return self._native.logit_scale

    @property
    def truncated_texts(self) -> int:
        """How many texts have lost their end since the retriever was opened."""
        return self._native.truncated_texts

    def encode_text(
        self,
        texts: str | Sequence[str] | NDArray[np.str_],
        batch_size: int = 64,
        normalize: bool = True,
        show_progress_bar: bool = False,
    ) -> Floats:
        """Vectors of texts.

        Args:
            texts: one text, or many; 100,000 at once need no more memory than their vectors.
            batch_size: how many are at work at a time. A text has the same vector in every batch.
            normalize: vectors always have length 1, so that nothing but true is taken.
            show_progress_bar: whether a bar is drawn.

        Returns:
            float32, ``(n, dim)``; ``(dim,)`` for one text that is not in a list.

        Raises:
            ValueError: for what is no text, an empty text or an empty list.
        """
        found, single = texts_of("texts", texts)
        _check_normalize(normalize)
        return self._encoded(found, single, self._native.encode_texts, batch_size, ("texts", show_progress_bar))

    def encode_image(
        self,
        images: ImageLike | Sequence[ImageLike] | NDArray[np.uint8],
        batch_size: int = 32,
        normalize: bool = True,
        show_progress_bar: bool = False,
    ) -> Floats:
        """Vectors of pictures.

        Args:
            images: one picture or many: paths, PIL images, uint8 arrays ``(height, width, 3)`` or one array
                ``(n, height, width, 3)``. Contiguous arrays are read where they are. A video's vector is the mean of
                its frames'.
            batch_size: how many are decoded and embedded together; a multiple of 16 gives the bits of the command line.
            normalize: vectors always have length 1, so that nothing but true is taken.
            show_progress_bar: whether a bar is drawn.

        Returns:
            float32, ``(n, dim)``; ``(dim,)`` for one picture that is not in a list.

        Raises:
            ValueError: for what is no picture, or arrays of another dtype or shape.
            OSError: for a file that cannot be read.
            ModelError: for a file that holds no picture.
        """
        found, single = pictures_of("images", images)
        _check_normalize(normalize)

        def encode(batch: list[Any]) -> Floats:
            # Pixels of PIL images are made a batch at a time, so that a long list needs little memory.
            return self._native.encode_images([picture_of("images", image) for image in batch])

        return self._encoded(found, single, encode, batch_size, ("images", show_progress_bar))

    def preprocess(self, image: ImageLike) -> NDArray[np.uint8]:
        """The pixels that the image tower reads of a picture: open_clip's ``preprocess`` before it normalises.

        Args:
            image: a path, a PIL image, or uint8 pixels ``(height, width, 3)``; of a video, its first frame.

        Returns:
            uint8, ``(height, width, 3)``, at the tower's size. A resized value may be one level beside Pillow's.

        Raises:
            ValueError: for what is no picture, or arrays of another dtype or shape.
            OSError: for a file that cannot be read.
            ModelError: for a file that holds no picture.
        """
        return self._native.preprocess(picture_of("image", image))

    def encode(
        self,
        sentences: Any,
        batch_size: int = 32,
        show_progress_bar: bool | None = None,
        normalize_embeddings: bool = True,
        **ignored: object,
    ) -> Floats:
        """As ``SentenceTransformer.encode``: texts, or PIL images, by what they are.

        Args:
            sentences: one text or many, or one PIL image or many.
            batch_size: how many are at work at a time.
            show_progress_bar: whether a bar is drawn.
            normalize_embeddings: vectors always have length 1.
            ignored: what else sentence-transformers takes (``device``, ``convert_to_numpy``, …); the result is always a
                numpy array.
        """
        first = sentences[0] if isinstance(sentences, (list, tuple)) and sentences else sentences
        encode = self.encode_text if isinstance(first, str) or first is None else self.encode_image
        return encode(sentences, batch_size, normalize_embeddings, bool(show_progress_bar))

    def similarity(self, a: Any, b: Any) -> Floats:
        """The cosines of every vector of ``a`` with every vector of ``b``; see :func:`similarity`."""
        return similarity(a, b)

    def _encoded(
        self,
        inputs: list[Any],
        single: bool,
        encode: Any,
        batch_size: int,
        shown: tuple[str, bool],
    ) -> Floats:
        batch_size = count_of("batch_size", batch_size)
        if len(inputs) <= batch_size and not shown[1]:
            vectors: Floats = encode(inputs)
            return vectors[0] if single else vectors
        vectors = np.empty((len(inputs), self.dim), dtype=np.float32)
        with Progress(bool(shown[1])) as progress:
            progress.begin(shown[0], len(inputs))
            for start in range(0, len(inputs), batch_size):
                batch = inputs[start : start + batch_size]
                vectors[start : start + len(batch)] = encode(batch)
                progress.advance(start + len(batch))
        return vectors[0] if single else vectors

    def __reduce__(self) -> tuple[Any, ...]:
        return _opened, (self._model, self._settings)

    def __repr__(self) -> str:
        return f"Retriever({self._model!r}, precision={self._settings['precision']!r}, dim={self.dim})"


def _opened(model: str, settings: dict[str, Any]) -> Retriever:
    return Retriever(model, **settings)


def _check_normalize(normalize: object) -> None:
    if normalize is not True:
        raise refused("normalize", "True, for vectors always have length 1", described(normalize))


def similarity(a: Any, b: Any) -> Floats:
    """The dot products of every row of ``a`` with every row of ``b``: for vectors of length 1, cosines.

    The numbers are those by which a search ranks, to the last bit. Contiguous float32 arrays are not copied.

    Args:
        a: ``(m, dim)``, or ``(dim,)`` for one vector.
        b: ``(n, dim)``, or ``(dim,)`` for one vector.

    Returns:
        float32, ``(m, n)``.

    Raises:
        ValueError: for other dtypes, dimensions that differ, empty arrays, NaN.
    """
    left, _ = vectors_of("a", a)
    right, _ = vectors_of("b", b)
    return _relens.similarity(left, right)
