"""Rewriting and the knowledge behind it are the command's."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

import relens

QUERIES = ["a castel beside the watter", "a bride at a wedding", "dog", "a beach without people"]


@pytest.mark.parametrize("name", ["default", "identity", "descriptions", "composer", "evd", "rewriter"])
def test_a_rewrite_is_the_command_s(retriever: relens.Retriever, cli: Callable[..., str], name: str) -> None:
    enhancer = relens.Enhancer(name, retriever)
    for query in QUERIES[:2]:
        expected = json.loads(cli("rewrite", query, "--json", "--enhancer", name, "--model", "relens-mini"))
        found = enhancer.rewrite(query)
        assert list(found.texts) == [text["text"] for text in expected["texts"]]
        assert found.weights == pytest.approx([text["weight"] for text in expected["texts"]], abs=1e-7)
        assert (found.combine, list(found.trace)) == (expected["combine"], expected["trace"])
        assert enhancer.name == expected["enhancer"]


def test_many_queries_are_rewritten_as_each_alone(retriever: relens.Retriever) -> None:
    enhancer = relens.Enhancer("composer", retriever)
    assert enhancer.rewrite(QUERIES * 20) == [enhancer.rewrite(query) for query in QUERIES] * 20


def test_a_dictionary_a_file_and_a_directory_open_enhancers(retriever: relens.Retriever, tmp_path: Path) -> None:
    table = {"combine": "max_score", "enhancer": [{"name": "identity", "weight": 0.6}, {"name": "descriptions"}]}
    file = tmp_path / "mine.toml"
    file.write_text(
        'combine = "max_score"\n[[enhancer]]\nname = "identity"\nweight = 0.6\n[[enhancer]]\nname = "descriptions"\n'
    )
    rewrites = [relens.Enhancer(spec, retriever).rewrite("a giraffe") for spec in (table, file, str(file))]
    assert rewrites[0] == rewrites[1] == rewrites[2] and rewrites[0].combine == "max_score"
    rewriter = relens.data_directory("relens-mini-rewriter")
    assert relens.Enhancer(rewriter, retriever).name == "rewriter"
    combined = relens.Enhancer(table, retriever, combine="mean_score").rewrite("a giraffe")
    assert combined.combine == "mean_score"
    with pytest.raises(relens.RelensError, match="unknown field"):
        relens.Enhancer({"magic": 1}, retriever)


def test_enhancers_are_pickled_by_what_opened_them(retriever: relens.Retriever) -> None:
    enhancer = relens.Enhancer("evd", retriever, combine="max_score")
    again: relens.Enhancer = pickle.loads(pickle.dumps(enhancer))
    assert again.rewrite("a castle") == enhancer.rewrite("a castle")


def test_knowledge_is_added_edited_removed_and_taken_back(tmp_path: Path) -> None:
    knowledge = relens.Knowledge(tmp_path / "evd.db")
    bundled = len(knowledge)
    assert bundled > 1000 and not (tmp_path / "evd.db").exists()
    revision = knowledge.add("Shandong Ship", is_a="aircraft carrier", has=["ski-jump bow"], aliases="山东舰")
    assert revision is not None and revision["action"] == "add"
    assert len(knowledge) == bundled + 1 and "山东舰" in knowledge
    assert knowledge.find("the shandong ship") == [("shandong ship", "shandong ship")]
    knowledge.edit("shandong ship", drop="ski-jump bow", rename="shandong carrier")
    assert "shandong ship" not in knowledge
    entity = knowledge.get("shandong carrier")
    assert entity is not None
    texts = [description["text"] for sense in entity["senses"] for description in sense["descriptions"]]
    assert "an aircraft carrier" in texts and "ski-jump bow" not in texts
    knowledge.remove("shandong carrier")
    assert [change["action"] for change in knowledge.history(limit=3)] == ["remove", "edit", "add"]
    knowledge.undo()
    assert "shandong carrier" in knowledge
    with pytest.raises(relens.RelensError):
        knowledge.undo(999)


def test_knowledge_goes_out_and_comes_in(tmp_path: Path) -> None:
    first, second = relens.Knowledge(tmp_path / "a.db"), relens.Knowledge(tmp_path / "b.db")
    first.add("gumblewit", has="seven striped tails")
    first.export(tmp_path / "all.jsonl")
    summary = second.import_files(tmp_path / "all.jsonl")
    assert summary["added"] == 1 and "gumblewit" in second
    assert list(first) == list(second)


def test_an_edit_counts_for_enhancers_that_are_opened_after_it(retriever: relens.Retriever) -> None:
    knowledge = relens.Knowledge()
    knowledge.add("gumblewit", has="seven striped tails")
    try:
        rewrite = relens.Enhancer("descriptions", retriever).rewrite("a gumblewit")
        assert any("seven striped tails" in text for text in rewrite.texts)
    finally:
        knowledge.undo()
