"""A model for clip_benchmark's retrieval: ``model, transform, tokenizer = load("relens-mini")``.

Pictures are embedded where the data set is read, by ``transform``, so that the loader hands on vectors: its workers must
not be forked (``num_workers=0``, or ``multiprocessing_context="spawn"``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from relens.enhancer import retriever_of
from relens.retriever import Retriever


class Texts(list[str]):
    """Texts in the place of tokens: relens cuts them itself."""

    def to(self, device: object) -> Texts:
        """The same; relens computes on the processor."""
        return self


class ClipBenchmarkModel(nn.Module):
    """What clip_benchmark calls a model.

    Args:
        retriever: what makes vectors.
    """

    def __init__(self, retriever: Retriever) -> None:
        super().__init__()
        self.retriever = retriever

    def encode_image(self, images: torch.Tensor) -> torch.Tensor:
        """The vectors that ``transform`` made, ``[n, dim]``."""
        return images

    def encode_text(self, texts: Sequence[str]) -> torch.Tensor:
        """Vectors of texts, ``[n, dim]``."""
        return torch.from_numpy(self.retriever.encode_text(list(texts)))


class Transform:
    """A picture's vector in the place of its pixels."""

    def __init__(self, retriever: Retriever) -> None:
        self.retriever = retriever

    def __call__(self, image: Any) -> torch.Tensor:
        """The vector of a PIL image, ``[dim]``."""
        return torch.from_numpy(self.retriever.encode_image(image))


def load(retriever: Retriever | str | None = None) -> tuple[ClipBenchmarkModel, Transform, type[Texts]]:
    """Model, transform and tokenizer, as clip_benchmark's ``load_clip`` returns them."""
    opened = retriever_of("retriever", retriever)
    return ClipBenchmarkModel(opened).eval(), Transform(opened), Texts
