"""What is measured and compared is what the command measures and compares."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import relens


def test_an_evaluation_is_the_command_s(
    retriever: relens.Retriever, cli: Callable[..., str], captions: Path, gallery: Path
) -> None:
    for enhancer, split in (("identity", None), ("default", "val")):
        arguments = ["eval", "--annotations", captions, "--images", gallery, "--json", "-", "--per-query"]
        arguments += ["--enhancer", enhancer, "--model", "relens-mini"] + (["--split", split] if split else [])
        expected = json.loads(cli(*arguments))
        found = relens.evaluate(captions, gallery, split, retriever=retriever, enhancer=enhancer)
        ranks = [query["rank"] for query in expected.pop("queries")]
        image_ranks = [picture["rank"] for picture in expected.pop("pictures")]
        assert found.text_to_image_ranks.tolist() == ranks and found.image_to_text_ranks.tolist() == image_ranks
        assert found.text_to_image_ranks.dtype == np.uint32
        # The part of the dataset is no number, and no two runs take the same time.
        for key in ("seconds", "split"):
            expected.pop(key, None), found.pop(key, None)
        assert dict(found) == expected


def test_a_comparison_is_the_command_s(
    retriever: relens.Retriever, cli: Callable[..., str], captions: Path, gallery: Path, tmp_path: Path
) -> None:
    config = tmp_path / "compare.toml"
    config.write_text('split = "all"\n[[row]]\nenhancer = "default"\n[[row]]\nenhancer = "concat"\n')
    out = tmp_path / "out.json"
    cli("compare", "--config", config, "--annotations", captions, "--images", gallery, "--json", out,
        "--model", "relens-mini")
    rows = json.loads(out.read_text())
    baseline, *runs = (
        relens.evaluate(captions, gallery, retriever=retriever, enhancer=name)
        for name in ("identity", "default", "concat")
    )
    for row, run in zip(rows[1:], runs, strict=True):
        found = relens.compare(baseline, run)
        assert found == {key: row[key] for key in ("text_to_image", "image_to_text")}
    assert "text_to_image R@1: " in str(found)


def test_what_was_measured_can_be_kept(retriever: relens.Retriever, captions: Path, gallery: Path) -> None:
    told: list[tuple[str, int, int]] = []
    found = relens.evaluate(
        captions, gallery, retriever=retriever, enhancer=None, recall_k=[1, 3], sample=10, sample_seed=7,
        on_progress=lambda *report: told.append(report),
    )
    assert (found["n_images"], found["n_texts"], found["enhancer"]) == (10, 20, "identity")
    assert found["image_retrieval_recall@3"] == np.mean(found.text_to_image_ranks <= 3)
    assert {task for task, _, _ in told} == {"captions"} or told[-1][1] == 20
    again: relens.Evaluation = pickle.loads(pickle.dumps(found))
    assert again == found and again.image_of_caption.tolist() == found.image_of_caption.tolist()


def test_data_that_cannot_be_measured_is_named(captions: Path, gallery: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected one of the splits"):
        relens.evaluate(captions, gallery, "test")
    with pytest.raises(relens.DatasetError, match="pictures are missing"):
        relens.evaluate(captions, tmp_path)
    with pytest.raises(FileNotFoundError, match="missing.json"):
        relens.evaluate(tmp_path / "missing.json", gallery)
    with pytest.raises(ValueError, match="recall_k: expected a whole number of at least 1, found 0"):
        relens.evaluate(captions, gallery, recall_k=[0])
    few = relens.evaluate(captions, gallery, sample=5, enhancer=None)
    with pytest.raises(ValueError, match="same queries"):
        relens.compare(relens.evaluate(captions, gallery, enhancer=None), few)
