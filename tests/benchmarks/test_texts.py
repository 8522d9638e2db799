"""Licences in the layouts of benchmarks: what is gathered, and which sentences stand together."""

from __future__ import annotations

import numpy as np
import pytest
from arranged import listed

from beam_preprocess.datasets import DATASETS
from beam_preprocess.datasets.dataset import ReadOptions
from benchmarks import texts


@pytest.fixture
def packages(folder, monkeypatch):
    """Packages with sentences in a licence and a README, and in notes, which are neither."""
    packages = folder / "packages"
    packages.mkdir()
    for name in ("a/LICENSE", "b/README.md", "c/notes.md"):
        (packages / name).parent.mkdir()
        text = [f"Sentence number {i} of {name}, which\nis of the right length." for i in range(30)]
        (packages / name).write_text(" ".join(["Too short.", *text]))
    monkeypatch.setattr(texts, "_packages", lambda: packages)


def test_licences_without_an_extension_are_texts(folder, monkeypatch):
    packages = folder / "packages"
    for name in ("a-1.0.dist-info/LICENSE", "b/README.md"):
        (packages / name).parent.mkdir(parents=True)
        (packages / name).write_text("As is.")
    monkeypatch.setattr(texts, "_packages", lambda: packages)
    texts.files(folder)
    listing = DATASETS["text_files"].list_items(str(folder / "raw"), ReadOptions())
    assert {item.path for item in listing.items} == {"a-1.0.dist-info-LICENSE.txt", "b-README.md"}
    assert listing.notes == []
    assert (folder / "unseen/hidden.txt").read_text().count("[MASK]") == 6


@pytest.mark.usefixtures("packages")
def test_sentences_follow_from_those_they_are_among(folder):
    texts.entailments(folder)
    items, fields = listed("glue", folder, glue_task="rte")
    counts = texts.PAIRS
    assert [split for _, split in items] == ["train"] * counts["train"] + ["val"] * counts["dev"]
    for (label, _), one in zip(items, fields, strict=True):
        whole, said = one["text"].decode().split("\t")
        assert (said in whole) == (label == "entailment")
        assert whole.count("Sentence number") == 2
        assert "notes.md" not in whole + said
        assert "Too short" not in whole
    labels = [label for label, _ in items]
    assert 0.5 <= labels.count("entailment") / len(labels) < 0.6
    assert (folder / "unseen/0.txt").read_bytes().rstrip() == fields[counts["train"]]["text"]


@pytest.mark.usefixtures("packages")
def test_sentences_are_as_alike_as_they_have_words_in_common(folder):
    texts.likenesses(folder)
    _, fields = listed("glue_stsb", folder)
    assert len(fields) == sum(texts.PAIRS.values())
    for one in fields:
        first, second = (part.split() for part in one["text"].decode().split("\t"))
        kept = round(one["score"] / 5 * len(first))
        assert one["score"] == pytest.approx(5 * kept / len(first), abs=1e-3)
        assert second[:kept] == first[:kept]
    scores = [one["score"] for one in fields]
    assert min(scores) == 0
    assert max(scores) == 5
    assert np.mean(scores) == pytest.approx(2.5, abs=0.3)
