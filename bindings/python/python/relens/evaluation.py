"""How well captions find their pictures, and pictures their captions; and how far two runs are apart."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relens import _relens
from relens._arguments import count_of, described, path_of, refused
from relens._progress import OnProgress, Progress
from relens.enhancer import Enhancer, enhancer_of, retriever_of
from relens.retriever import Retriever

Ranks = NDArray[np.uint32]


class Evaluation(dict[str, Any]):
    """The numbers of a run, under clip_benchmark's names, and every query's rank beside them.

    Keys: ``image_retrieval_recall@K`` (text to image) and ``text_retrieval_recall@K`` (image to text) as fractions,
    ``…_median_rank``, ``…_mean_rank``, ``…_mean_reciprocal_rank``, ``n_images``, ``n_texts``, ``model``, ``enhancer``,
    ``seconds``: the object that ``relens eval --json`` writes.

    Attributes:
        text_to_image_ranks: for every caption the rank of its picture, from 1; ties count against it. uint32.
        image_to_text_ranks: for every picture with captions the rank of the best of them. uint32.
        image_of_caption: the position of every caption's picture. uint64.
    """

    def __init__(
        self,
        report: Mapping[str, Any],
        text_to_image_ranks: Ranks,
        image_to_text_ranks: Ranks,
        image_of_caption: NDArray[np.uint64],
    ) -> None:
        super().__init__(report)
        self.text_to_image_ranks = text_to_image_ranks
        self.image_to_text_ranks = image_to_text_ranks
        self.image_of_caption = image_of_caption

    def __reduce__(self) -> tuple[Any, ...]:
        ranks = (self.text_to_image_ranks, self.image_to_text_ranks, self.image_of_caption)
        return Evaluation, (dict(self), *ranks)


class Comparison(dict[str, Any]):
    """``{"text_to_image": [cell], "image_to_text": [cell]}``, as a row of ``relens compare --json``.

    A cell is ``{"k", "recall", "difference"}``, the second run's Recall@k and how far it is from the first:
    ``{"difference", "lower", "upper", "share_better", "share_worse", "share_unchanged"}``.
    """

    def __str__(self) -> str:
        lines = []
        for way, cells in self.items():
            for cell in cells:
                found = cell["difference"]
                lower, upper = 100 * found["lower"], 100 * found["upper"]
                mark = "*" if lower > 0 or upper < 0 else ""
                lines.append(
                    f"{way} R@{cell['k']}: {100 * cell['recall']:.1f} "
                    f"({100 * found['difference']:+.1f}{mark} [{lower:+.1f}, {upper:+.1f}])"
                )
        return "\n".join(lines)


def evaluate(
    annotations: str | os.PathLike[str],
    images: str | os.PathLike[str] | None = None,
    split: str | None = None,
    *,
    retriever: Retriever | str | None = None,
    enhancer: Enhancer | str | os.PathLike[str] | Mapping[str, Any] | None = "default",
    recall_k: Sequence[int] = (1, 5, 10),
    sample: int | None = None,
    sample_seed: int = 0,
    on_progress: OnProgress = False,
) -> Evaluation:
    """Measures retrieval both ways on a captioned dataset, by the steps of ``relens eval``.

    Args:
        annotations: a file in any of the formats of ``docs/datasets``, or a directory of tar archives.
        images: where the pictures are; beside the annotations if nothing is named.
        split: the part to measure, such as ``"val"``; everything if none is named.
        retriever: what makes vectors, by itself or by its name; the bundled one if none is named.
        enhancer: what rewrites the captions; None leaves them as they are.
        recall_k: the cut-offs of Recall@K.
        sample: measure on this many pictures, drawn at random.
        sample_seed: the same seed draws the same pictures.
        on_progress: True for a bar, or a function that is given ``(task, done, total)``.

    Raises:
        DatasetError: for annotations that cannot be read, or pictures that are missing.
        ValueError: for a split that there is not, and other arguments.
    """
    encoder = retriever_of("retriever", retriever)
    if isinstance(enhancer, Enhancer) and retriever is None:
        encoder = enhancer.retriever
    if split is not None and not isinstance(split, str):
        raise refused("split", "a name", described(split))
    drawn = None if sample is None else (count_of("sample", sample), count_of("sample_seed", sample_seed, 0))
    with Progress(on_progress) as progress:
        report, of_texts, of_images, image_of_caption = _relens.evaluate(
            path_of("annotations", annotations),
            None if images is None else path_of("images", images),
            split,
            encoder._native,
            enhancer_of("enhancer", enhancer, encoder)._native,
            _cut_offs(recall_k),
            drawn,
            progress,
        )
    return Evaluation(report, of_texts, of_images, image_of_caption)


def compare(
    a: Evaluation,
    b: Evaluation,
    *,
    recall_k: Sequence[int] = (1, 5, 10),
    samples: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Comparison:
    """How far ``b`` is from ``a``, with intervals of a paired bootstrap over pictures; the defaults are the CLI's.

    Args:
        a: the baseline.
        b: a run on the same captions.
        recall_k: the cut-offs of Recall@K.
        samples: how often the bootstrap draws.
        seed: the same seed gives the same interval.
        confidence: the interval's probability.

    Raises:
        ValueError: if the runs are of different captions.
    """
    for name, run in (("a", a), ("b", b)):
        if not isinstance(run, Evaluation):
            raise refused(name, "what evaluate returned", described(run))
    if not isinstance(confidence, float) or not 0 < confidence < 1:
        raise refused("confidence", "a number between 0 and 1", described(confidence))
    return Comparison(
        _relens.compare(
            _ranks(a),
            _ranks(b),
            _cut_offs(recall_k),
            count_of("samples", samples),
            count_of("seed", seed, 0),
            confidence,
        )
    )


def _ranks(run: Evaluation) -> tuple[Ranks, Ranks, NDArray[np.uint64]]:
    return run.text_to_image_ranks, run.image_to_text_ranks, run.image_of_caption


def _cut_offs(recall_k: object) -> list[int]:
    if not isinstance(recall_k, (list, tuple, range)) or not recall_k:
        raise refused("recall_k", "a list of whole numbers", described(recall_k))
    return [count_of("recall_k", k) for k in recall_k]
