"""Image search that understands people, from Python.

>>> import relens
>>> retriever = relens.Retriever("relens-mini")
>>> vectors = retriever.encode_text(["two dogs in the snow", "a birthday cake"])
>>> vectors.shape
(2, 512)

Vectors are float32 arrays of one row a text or picture, each of length 1: a dot product is a cosine. Queries are
rewritten by an :class:`Enhancer`, pictures of a folder searched in a :class:`Library`, retrieval measured by
:func:`evaluate` and :func:`compare`, and the papers' losses are in :mod:`relens.objectives`.

What goes wrong is a :class:`RelensError`, or a ``ValueError`` for an argument that cannot be used; a file that cannot be
read is an ``OSError`` as everywhere.
"""

from __future__ import annotations

from relens import objectives
from relens._data import bundled_models, data_directory
from relens._relens import DatasetError, LibraryError, ModelError, RelensError, __version__
from relens.enhancer import Enhancer, Rewrite
from relens.evaluation import Comparison, Evaluation, compare, evaluate
from relens.knowledge import Knowledge
from relens.library import Found, Library, Picture
from relens.recipes import Run, run, train
from relens.retriever import Retriever, similarity

__all__ = [
    "Comparison",
    "DatasetError",
    "Enhancer",
    "Evaluation",
    "Found",
    "Knowledge",
    "Library",
    "LibraryError",
    "ModelError",
    "Picture",
    "RelensError",
    "Retriever",
    "Rewrite",
    "Run",
    "__version__",
    "bundled_models",
    "compare",
    "data_directory",
    "evaluate",
    "objectives",
    "run",
    "similarity",
    "train",
]
