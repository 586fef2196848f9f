"""A model for mteb's tasks: ``mteb.evaluate(MtebModel("relens-mini"), tasks)``."""

from __future__ import annotations

from typing import Any

import numpy as np
from mteb.models.abs_encoder import AbsEncoder
from mteb.models.model_meta import ModelMeta, ScoringFunction

from relens._arguments import Floats
from relens.enhancer import retriever_of
from relens.retriever import Retriever


class MtebModel(AbsEncoder):
    """Texts and pictures of a retriever; an item with both is embedded as their sum, as mteb's own CLIP does it.

    Args:
        retriever: what makes vectors, by itself or by its name; the bundled one if none is named.
        revision: taken, as mteb hands it over, and not looked at: the vectors' fingerprint is the revision.
        device: taken and not looked at: relens computes on the processor.
        ignored: what else mteb may hand over.
    """

    def __init__(
        self,
        retriever: Retriever | str | None = None,
        revision: str | None = None,
        device: str | None = None,
        **ignored: Any,
    ) -> None:
        self.retriever = retriever_of("retriever", retriever)
        self.model = self.retriever
        self.mteb_model_meta = ModelMeta.create_empty(
            {
                "name": f"relens/{self.retriever.name.replace('/', '-').replace(' ', '-')}",
                "revision": self.retriever.fingerprint,
                "modalities": ["text", "image"],
                "embed_dim": self.retriever.dim,
                "similarity_fn_name": ScoringFunction.COSINE,
                "use_instructions": False,
            }
        )

    def encode(
        self,
        inputs: Any,
        *,
        task_metadata: Any,
        hf_split: str,
        hf_subset: str,
        prompt_type: Any = None,
        **kwargs: Any,
    ) -> Floats:
        """Vectors of what a loader gives, ``[n, dim]``."""
        parts = []
        for batch in inputs:
            made = []
            if "text" in batch:
                made.append(self.retriever.encode_text(list(batch["text"])))
            if "image" in batch:
                made.append(self.retriever.encode_image(list(batch["image"])))
            if not made:
                raise ValueError(f"inputs: expected texts or images, found {sorted(batch)}")
            parts.append(np.sum(made, axis=0, dtype=np.float32))
        return np.concatenate(parts)
