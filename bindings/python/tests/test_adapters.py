"""relens in the places of other packages, each test against the real package where it is installed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import json_lines

import relens

TEXTS = ["a cat", "an orchestra on a stage", "a sunset"]


@pytest.fixture(scope="module")
def described(captions: Path, gallery: Path) -> list[tuple[Path, list[str]]]:
    return [(gallery / line["image"], line["captions"]) for line in json_lines(captions.read_text())]


def test_open_clip_computes_the_same_vectors(
    retriever: relens.Retriever, pictures: list[Path], tmp_path: Path
) -> None:
    open_clip = pytest.importorskip("open_clip")
    pytest.importorskip("timm"), pytest.importorskip("transformers")
    torch, image = pytest.importorskip("torch"), pytest.importorskip("PIL.Image")
    # It looks for the text tower's configuration by name; a copy of the model names itself.
    directory = shutil.copytree(relens.data_directory("relens-mini"), tmp_path / "mini")
    config = json.loads((directory / "open_clip_config.json").read_text())
    config["model_cfg"]["text_cfg"].update(hf_model_name=str(directory), hf_tokenizer_name=str(directory))
    (directory / "open_clip_config.json").write_text(json.dumps(config))
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{directory}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{directory}")
    opened = [image.open(path).convert("RGB") for path in pictures[:6]]
    # What the tower reads is Pillow's picture but for one level here and there, for the weights of the resizing are
    # rounded to 15 bits, as Pillow-SIMD does it, and Pillow's to 22.
    ours = np.stack([retriever.preprocess(picture) for picture in opened])
    theirs = np.stack([np.asarray(picture.resize((260, 260), image.Resampling.BICUBIC)) for picture in opened])
    differences = np.abs(ours.astype(np.int16) - theirs)
    assert differences.max() <= 1 and differences.mean() < 0.06
    # From the same pixels come the same vectors.
    with torch.no_grad():
        texts = model.eval().encode_text(tokenizer(TEXTS), normalize=True).numpy()
        batches = [torch.stack([preprocess(image.fromarray(one)) for one in pixels]) for pixels in (ours, theirs)]
        of_ours, of_theirs = (model.encode_image(batch, normalize=True).numpy() for batch in batches)
    found = retriever.encode_image(opened)
    np.testing.assert_allclose(retriever.encode_text(TEXTS), texts, atol=1e-4)
    np.testing.assert_allclose(found, of_ours, atol=1e-4)
    np.testing.assert_allclose(retriever.encode_image(list(theirs)), of_theirs, atol=1e-4)
    np.testing.assert_allclose(found, of_theirs, atol=2e-3)


def test_langchain_s_vector_store_finds_texts_and_pictures(retriever: relens.Retriever, gallery: Path) -> None:
    vectorstores = pytest.importorskip("langchain_core.vectorstores")
    from relens.adapters.langchain import RelensEmbeddings

    embeddings = RelensEmbeddings(retriever)
    store = vectorstores.InMemoryVectorStore.from_texts(TEXTS, embeddings)
    assert store.similarity_search("musicians of an orchestra", k=1)[0].page_content == TEXTS[1]
    picture = embeddings.embed_image([gallery / "cat.jpg"])[0]
    assert store.similarity_search_by_vector(picture, k=1)[0].page_content == TEXTS[0]


def test_clip_benchmark_measures_what_we_measure(
    retriever: relens.Retriever, described: list[tuple[Path, list[str]]], captions: Path, gallery: Path
) -> None:
    metric = pytest.importorskip("clip_benchmark.metrics.zeroshot_retrieval")
    torch, image = pytest.importorskip("torch"), pytest.importorskip("PIL.Image")
    from clip_benchmark.datasets.builder import image_captions_collate_fn
    from relens.adapters.clip_benchmark import load

    model, transform, tokenizer = load(retriever)
    items = [(transform(image.open(path)), texts) for path, texts in described]
    loader = torch.utils.data.DataLoader(items, batch_size=8, collate_fn=image_captions_collate_fn)
    found = metric.evaluate(model, loader, tokenizer, "cpu", amp=False, recall_k_list=[1, 5])
    ours = relens.evaluate(captions, gallery, retriever=retriever, enhancer=None, recall_k=[1, 5])
    assert set(found) == {key for key in ours if "recall@" in key}
    for name, value in found.items():
        # JPEGs are decoded by another library: a picture in forty may change its place.
        assert value == pytest.approx(ours[name], abs=0.03), name


def test_a_sentence_transformer_has_the_retriever_s_vectors(
    retriever: relens.Retriever, gallery: Path, tmp_path: Path
) -> None:
    pytest.importorskip("sentence_transformers")
    image = pytest.importorskip("PIL.Image")
    from relens.adapters.sentence_transformers import load

    model = load(retriever)
    np.testing.assert_array_equal(model.encode(TEXTS), retriever.encode_text(TEXTS))
    picture = image.open(gallery / "cat.jpg")
    np.testing.assert_allclose(model.encode([picture]), retriever.encode_image([picture]), atol=1e-6)
    assert model.similarity(model.encode(TEXTS), model.encode([picture])).argmax() == 0


def test_mteb_runs_a_retrieval_task(
    retriever: relens.Retriever, described: list[tuple[Path, list[str]]], tmp_path: Path
) -> None:
    mteb = pytest.importorskip("mteb")
    task = _retrieval_task(described)
    from relens.adapters.mteb import MtebModel

    model = MtebModel(retriever)
    results = mteb.evaluate(model, task, cache=None, num_proc=None)
    score = results.task_results[0].scores["test"][0]
    assert score["recall_at_10"] > 0.7 and score["ndcg_at_10"] > 0.5


def _retrieval_task(described: list[tuple[Path, list[str]]]) -> Any:
    """Captions that look for the gallery's pictures, as a task of mteb."""
    datasets, image = pytest.importorskip("datasets"), pytest.importorskip("PIL.Image")
    from mteb.abstasks.retrieval import AbsTaskRetrieval
    from mteb.abstasks.task_metadata import TaskMetadata

    class GalleryRetrieval(AbsTaskRetrieval):
        metadata = TaskMetadata(
            name="GalleryT2IRetrieval",
            description="Captions and the pictures that come with relens.",
            reference=None,
            dataset={"path": "relens/gallery", "revision": "1"},
            type="Any2AnyRetrieval",
            category="t2i",
            modalities=["text", "image"],
            eval_splits=["test"],
            eval_langs=["eng-Latn"],
            main_score="ndcg_at_10",
        )

        def load_data(self, *ignored: Any, **also_ignored: Any) -> None:
            names = [str(number) for number in range(len(described))]
            pictures = [image.open(path).convert("RGB") for path, _ in described]
            corpus = datasets.Dataset.from_dict(
                {"id": names, "image": pictures, "modality": ["image"] * len(names)},
                features=datasets.Features(
                    {"id": datasets.Value("string"), "image": datasets.Image(), "modality": datasets.Value("string")}
                ),
            )
            asked = [(name, text) for name, (_, texts) in zip(names, described) for text in texts]
            queries = datasets.Dataset.from_dict(
                {
                    "id": [f"q{number}" for number in range(len(asked))],
                    "text": [text for _, text in asked],
                    "modality": ["text"] * len(asked),
                }
            )
            relevant = {f"q{number}": {name: 1} for number, (name, _) in enumerate(asked)}
            parts = {"corpus": corpus, "queries": queries, "relevant_docs": relevant, "top_ranked": None}
            self.dataset = {"default": {"test": parts}}
            self.data_loaded = True

    return GalleryRetrieval()
