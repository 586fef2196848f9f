"""Embeddings for langchain's vector stores.

>>> from relens.adapters.langchain import RelensEmbeddings  # doctest: +SKIP
>>> store = InMemoryVectorStore(RelensEmbeddings())  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Sequence

from langchain_core.embeddings import Embeddings

from relens._arguments import ImageLike
from relens.enhancer import retriever_of
from relens.retriever import Retriever


class RelensEmbeddings(Embeddings):
    """Texts, and pictures by :meth:`embed_image`, in one space.

    Args:
        retriever: what makes vectors, by itself or by its name; the bundled one if none is named.
        batch_size: how many are at work at a time.
    """

    def __init__(self, retriever: Retriever | str | None = None, batch_size: int = 64) -> None:
        self.retriever = retriever_of("retriever", retriever)
        self.batch_size = batch_size

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Vectors of texts."""
        vectors: list[list[float]] = self.retriever.encode_text(texts, self.batch_size).tolist()
        return vectors

    def embed_query(self, text: str) -> list[float]:
        """The vector of a text."""
        vector: list[float] = self.retriever.encode_text(text).tolist()
        return vector

    def embed_image(self, uris: Sequence[ImageLike]) -> list[list[float]]:
        """Vectors of pictures, by their paths."""
        vectors: list[list[float]] = self.retriever.encode_image(list(uris)).tolist()
        return vectors
