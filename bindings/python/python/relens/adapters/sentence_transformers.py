"""A module for ``SentenceTransformer``: ``model = load("relens-mini")``, then ``model.encode(texts_or_pil_images)``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from torch import nn

from relens.enhancer import retriever_of
from relens.retriever import Retriever

_CONFIG = "relens.json"


class RelensModule(nn.Module):
    """Texts and pictures of a :class:`relens.Retriever`, as the only module of a ``SentenceTransformer``.

    Inputs become vectors where others are cut into tokens; there are no weights here to be trained.

    Args:
        retriever: what makes vectors, by itself or by its name; the bundled one if none is named.
    """

    def __init__(self, retriever: Retriever | str | None = None) -> None:
        super().__init__()
        self.retriever = retriever_of("retriever", retriever)
        # Without a parameter, a model is on no device.
        self.register_buffer("placeholder", torch.zeros(1), persistent=False)

    @property
    def modalities(self) -> list[str]:
        """What can be embedded."""
        return ["text", "image"]

    @property
    def max_seq_length(self) -> int | None:
        """Texts are cut by the retriever."""
        return None

    def get_embedding_dimension(self) -> int:
        """Components of a vector."""
        return self.retriever.dim

    get_sentence_embedding_dimension = get_embedding_dimension

    def preprocess(self, inputs: Sequence[Any], prompt: str | None = None, **ignored: Any) -> dict[str, torch.Tensor]:
        """The inputs' vectors, ``[n, dim]``."""
        found = [f"{prompt}{text}" if prompt and isinstance(text, str) else text for text in inputs]
        return {"sentence_embedding": torch.from_numpy(self.retriever.encode(found, batch_size=64))}

    def tokenize(self, texts: Sequence[Any], **ignored: Any) -> dict[str, torch.Tensor]:
        """What older versions call :meth:`preprocess`."""
        return self.preprocess(texts)

    def forward(self, features: dict[str, torch.Tensor], **ignored: Any) -> dict[str, torch.Tensor]:
        """The same: all is done."""
        return features

    def save(self, output_path: str, *ignored: Any, **also_ignored: Any) -> None:
        """Writes the name of the retriever."""
        path = Path(output_path, _CONFIG)
        path.write_text(json.dumps({"retriever": self.retriever.name}), encoding="utf-8")

    @classmethod
    def load(cls, path: str, *ignored: Any, **also_ignored: Any) -> RelensModule:
        """Opens what :meth:`save` wrote."""
        return cls(json.loads(Path(path, _CONFIG).read_text(encoding="utf-8"))["retriever"])


def load(retriever: Retriever | str | None = None) -> SentenceTransformer:
    """A ``SentenceTransformer`` whose vectors are a retriever's."""
    return SentenceTransformer(modules=[RelensModule(retriever)], device="cpu")
