"""relens in the places of other packages: one small module each, which imports that package.

- :mod:`relens.adapters.clip_benchmark`: a model for clip_benchmark's retrieval.
- :mod:`relens.adapters.sentence_transformers`: a module for ``SentenceTransformer``.
- :mod:`relens.adapters.mteb`: a model for mteb's tasks.
- :mod:`relens.adapters.langchain`: embeddings for langchain's vector stores.
"""
