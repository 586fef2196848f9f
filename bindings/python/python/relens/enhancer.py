"""Queries rewritten for the retriever that answers them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, overload

from relens import _relens
from relens._arguments import described, path_of, refused, texts_of
from relens.retriever import Retriever

Combination = Literal[
    "replace", "mean_embedding", "mean_score", "max_score", "reciprocal_rank", "weighted_sum"
]

#: Queries that are rewritten together.
_QUERIES_PER_BATCH = 64


@dataclass(frozen=True)
class Rewrite:
    """What an enhancer made of a query.

    Attributes:
        query: the query.
        texts: what the retriever reads in its place; the query is among them if it counts.
        weights: how much each text counts, relative to the others.
        combine: how the texts make one score, such as ``"mean_embedding"``.
        trace: why, step by step; ``trace[i]["step"]`` says what kind of step it is.
    """

    query: str
    texts: tuple[str, ...]
    weights: tuple[float, ...]
    combine: str
    trace: tuple[dict[str, Any], ...]


class Enhancer:
    """A way of rewriting queries.

    Args:
        enhancer: ``"default"`` (what works best with the retriever), a name such as ``"descriptions"`` or
            ``"composer"`` (``docs/enhancers.md`` lists them), the path of a TOML file or of a rewriter's directory, or a
            dictionary with what such a file would hold.
        retriever: whose queries are rewritten, by itself or by its name; it tells the senses of words apart.
        combine: how the texts make one score, in place of the enhancer's own way.
        keep_history: whether a rewriter may keep rewrites on disk for the next time.

    Raises:
        ValueError: for a name that there is not, with those that there are.
        RelensError: for settings that cannot be used.

    What the knowledge base says is read when the enhancer is opened: an edit counts for those that are opened after it.

    >>> from relens import Enhancer
    >>> rewrite = Enhancer("default").rewrite("a castel beside the watter")
    >>> rewrite.texts[0]
    'a castle beside the water'
    """

    def __init__(
        self,
        enhancer: str | os.PathLike[str] | Mapping[str, Any] = "default",
        retriever: Retriever | str | None = None,
        *,
        combine: Combination | None = None,
        keep_history: bool = True,
    ) -> None:
        self._retriever = retriever_of("retriever", retriever)
        self._enhancer = _spec(enhancer)
        self._settings: dict[str, Any] = {"combine": combine, "keep_history": keep_history}
        self._native = _relens.Enhancer(
            self._enhancer, self._retriever._native, os.getcwd(), combine, bool(keep_history)
        )

    @property
    def name(self) -> str:
        """The names of its parts, for a report."""
        return self._native.name

    @property
    def retriever(self) -> Retriever:
        """The retriever whose queries are rewritten."""
        return self._retriever

    @overload
    # A text is a sequence of texts to the checker, too; the first that fits is taken.
    def rewrite(self, query: str) -> Rewrite: ...  # type: ignore[overload-overlap]

    @overload
    def rewrite(self, query: Sequence[str]) -> list[Rewrite]: ...

    def rewrite(self, query: str | Sequence[str]) -> Rewrite | list[Rewrite]:
        """What a query becomes, or each of many.

        Raises:
            ValueError: for what is no text, an empty one, or one of more than 32 kB.
        """
        queries, single = texts_of("query", query)
        rewrites: list[Rewrite] = []
        for start in range(0, len(queries), _QUERIES_PER_BATCH):
            batch = queries[start : start + _QUERIES_PER_BATCH]
            rewrites.extend(map(rewrite_of, batch, self._native.rewrite(batch)))
        return rewrites[0] if single else rewrites

    def __reduce__(self) -> tuple[Any, ...]:
        return _opened, (self._enhancer, self._retriever, self._settings)

    def __repr__(self) -> str:
        return f"Enhancer({self.name!r}, {self._retriever!r})"


def rewrite_of(query: str, enhanced: dict[str, Any]) -> Rewrite:
    """A rewrite from what the native module gave."""
    texts = enhanced["texts"]
    return Rewrite(
        query=query,
        texts=tuple(text["text"] for text in texts),
        weights=tuple(float(text["weight"]) for text in texts),
        combine=enhanced["combination"],
        trace=tuple(enhanced["trace"]),
    )


def retriever_of(name: str, value: object) -> Retriever:
    """A retriever by itself, by its name, or the default one."""
    if isinstance(value, Retriever):
        return value
    if value is None:
        return Retriever()
    if isinstance(value, (str, os.PathLike)):
        return Retriever(value)
    raise refused(name, "a Retriever or the name of one", described(value))


def enhancer_of(name: str, value: object, retriever: Retriever) -> Enhancer:
    """An enhancer by itself, or by what opens one; None leaves queries as they are."""
    if isinstance(value, Enhancer):
        return value
    if value is None:
        return Enhancer("identity", retriever)
    if isinstance(value, (str, os.PathLike, Mapping)):
        return Enhancer(value, retriever)
    raise refused(name, "an Enhancer, a name, a path or a dictionary", described(value))


def _spec(enhancer: object) -> str | dict[str, Any]:
    if isinstance(enhancer, Mapping):
        return dict(enhancer)
    if isinstance(enhancer, os.PathLike):
        path = path_of("enhancer", enhancer)
        # A name without a separator is no path.
        return os.path.join(path, "") if os.path.isdir(path) else path
    if isinstance(enhancer, str) and enhancer.strip():
        return enhancer
    raise refused("enhancer", "a name, a path or a dictionary", described(enhancer))


def _opened(enhancer: Any, retriever: Retriever, settings: dict[str, Any]) -> Enhancer:
    return Enhancer(enhancer, retriever, **settings)
