"""Text from raw files to answers: a masked language model, and GLUE's tasks that start from it."""

from __future__ import annotations

import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from pipelines.records import DatasetInfo, parser
from tf_perceiver.training import checkpoint

WORDS = ("the", "licence", "of", "this", "software", "permits", "every", "use", "and", "copy")


@pytest.fixture(scope="module")
def language_model(fork_server, checkout, tmp_path_factory) -> pathlib.Path:
    """A folder with `raw`, `records`, `workdir` and its `saved_model`, by `text_mlm:tiny`."""
    root = tmp_path_factory.mktemp("language_model")
    (root / "raw").mkdir()
    draw = np.random.default_rng(0)
    for i in range(30):
        text = " ".join(draw.choice(WORDS, 40)) + "\n"
        (root / "raw" / f"{i}.txt").write_text(text)

    def run(module: str, *arguments: str) -> str:
        return fork_server.start(module, list(arguments), cwd=checkout).wait(500).check().stdout

    run(
        "beam_preprocess.run", "--dataset=text_files", f"--input={root / 'raw'}",
        f"--output={root / 'records'}", "--piece_bytes=64", "--splits=train:0.8,test:0.2",
    )  # fmt: skip
    run(
        "tf_perceiver.train", "--config=configs/text_mlm.py:tiny", f"--data={root / 'records'}",
        f"--workdir={root / 'workdir'}",
    )  # fmt: skip
    run("tf_perceiver.export", f"--workdir={root / 'workdir'}")
    return root


def test_evaluation_counts_every_masked_byte(language_model, command):
    result = command("tf_perceiver.evaluate", f"--workdir={language_model / 'workdir'}").check()
    row = json.loads(result.stdout.splitlines()[-1])
    info = DatasetInfo.read(str(language_model / "records"))
    assert row["examples"] == info.splits["test"].records
    assert set(row) == {"split", "step", "examples", "loss", "accuracy", "bits_per_byte"}
    trained = checkpoint.load_for_inference(language_model / "workdir")
    from pipelines import preparation

    preparing, masked, right = preparation.of(info, trained.config.data), 0, 0
    files = [str(language_model / "records" / it.name) for it in info.splits["test"].shards]
    for record in tf.data.TFRecordDataset(files).map(parser(preparing.features)):
        example = preparing.evaluation(record)
        batch = {name: field[None] for name, field in example.items()}
        answer = trained.task.answers(trained.model(batch))["bytes"][0] + 6
        hidden = example["masked"].numpy()
        masked += hidden.sum()
        right += (answer.numpy() == example["target"].numpy())[hidden].sum()
    assert row["accuracy"] == pytest.approx(right / masked)


def test_the_report_shows_hidden_words(language_model):
    page = (language_model / "workdir/report/index.html").read_text()
    assert "bits a masked byte of test" in page
    assert "hidden bytes found" in page
    assert "Bits a byte over the steps" in page


def test_masks_of_a_file_are_filled_in(language_model, command, tmp_path):
    (tmp_path / "a.txt").write_text("the [MASK][MASK][MASK] of é[MASK]\n")
    (tmp_path / "b.txt").write_text("x" * 63 + "[MASK][MASK] end")
    (tmp_path / "c.txt").write_bytes(b"\xff\xfe")
    (tmp_path / "d.png").write_bytes(b"")
    model = f"--model={language_model / 'workdir/saved_model'}"
    files = [tmp_path / name for name in ("a.txt", "b.txt", "c.txt", "d.png")]
    result = command("tf_perceiver.predict", model, *files)
    assert result.returncode == 2
    first, second = result.stderr.strip().splitlines()
    assert first == f"error: {files[2]} is UTF-16 or UTF-32; convert it to UTF-8 (iconv)"
    assert second == f"error: {files[3]} is an image, the model takes a text"
    serve = tf.saved_model.load(str(language_model / "workdir/saved_model/20"))
    said = serve.signatures["serving_default"](
        text_bytes=tf.constant(["the [MASK][MASK][MASK] of é[MASK]".encode()])
    )
    said = bytes(said["bytes"].numpy()[0].tolist())
    filled = b"the " + said[4:7] + " of é".encode() + said[13:14]
    row = json.loads(command("tf_perceiver.predict", model, "--json", files[0]).check().stdout)
    assert row["text"] == filled.decode(errors="replace")
    assert len(row["scores"]) == 4
    assert result.stdout.startswith(f"{files[0]}: the ")
    # The last of 64 places is filled, what lies beyond is not.
    longer = json.loads(command("tf_perceiver.predict", model, "--json", files[1]).check().stdout)
    assert longer["text"].startswith("x" * 63)
    assert longer["text"].endswith("[MASK] end")
    assert len(longer["scores"]) == 1


def test_the_example_client_tells_what_it_cannot_do(language_model):
    from tf_perceiver.serving import standalone

    model = language_model / "workdir/saved_model"
    with pytest.raises(ValueError, match="answers with bytes and scores; this client tells labels"):
        list(standalone.predict(model, [str(language_model / "raw/0.txt")]))


def sentences(root: pathlib.Path, columns: str, value) -> None:
    """Writes train.tsv and dev.tsv of made-up pairs, the second sentence the first's or another."""
    root.mkdir()
    draw = np.random.default_rng(1)
    for name, count in (("train.tsv", 80), ("dev.tsv", 20)):
        lines = [columns]
        for i in range(count):
            first = " ".join(draw.choice(WORDS, 3))
            second = first if i % 2 else " ".join(draw.choice(WORDS, 3))
            row = {"sentence1": first, "sentence2": second, **value(i)}
            lines.append("\t".join(row.get(column, str(i)) for column in columns.split("\t")))
        (root / name).write_text("\n".join(lines) + "\n")


def test_a_glue_task_starts_from_the_language_model(language_model, command, tmp_path):
    label = lambda i: {"label": "entailment" if i % 2 else "not_entailment"}  # noqa: E731
    sentences(tmp_path / "raw", "index\tsentence1\tsentence2\tlabel", label)
    command(
        "beam_preprocess.run", "--dataset=glue", "--glue_task=rte", f"--input={tmp_path / 'raw'}",
        f"--output={tmp_path / 'records'}",
    ).check()  # fmt: skip
    workdir = tmp_path / "workdir"
    result = command(
        "tf_perceiver.train", "--config=configs/glue.py:tiny", f"--data={tmp_path / 'records'}",
        f"--workdir={workdir}", f"--init_from={language_model / 'workdir'}", timeout=500,
    ).check()  # fmt: skip
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("starting from")]
    assert line.endswith("but for dec.out.bias, dec.out.kernel, dec.query.table")
    row = json.loads(command("tf_perceiver.evaluate", f"--workdir={workdir}").check().stdout)
    assert (row["examples"], row["split"]) == (20, "val")
    assert {"accuracy", "f1", "matthews"} <= set(row)
    page = (workdir / "report/index.html").read_text()
    assert "accuracy on val" in page
    command("tf_perceiver.export", f"--workdir={workdir}").check()
    (tmp_path / "pair.txt").write_text("the use of copy\tthe use of copy\n")
    model = f"--model={workdir / 'saved_model'}"
    said = command("tf_perceiver.predict", model, "--json", "--top_k=2", tmp_path / "pair.txt")
    found = json.loads(said.check().stdout)
    assert {one["label"] for one in found["top"]} == {"entailment", "not_entailment"}
    assert sum(one["score"] for one in found["top"]) == pytest.approx(1, abs=1e-5)


def test_scores_of_pairs_are_learned_and_answered(language_model, command, tmp_path):
    columns = "index\tsentence1\tsentence2\tscore"
    sentences(tmp_path / "raw", columns, lambda i: {"score": "5.0" if i % 2 else "0.5"})
    command(
        "beam_preprocess.run", "--dataset=glue_stsb", f"--input={tmp_path / 'raw'}",
        f"--output={tmp_path / 'records'}",
    ).check()  # fmt: skip
    workdir = tmp_path / "workdir"
    command(
        "tf_perceiver.train", "--config=configs/glue.py:tiny", f"--data={tmp_path / 'records'}",
        f"--workdir={workdir}", "--config.task.name=similarity", "--config.data.target=score",
        timeout=500,
    ).check()  # fmt: skip
    row = json.loads(command("tf_perceiver.evaluate", f"--workdir={workdir}").check().stdout)
    assert {"loss", "pearson", "spearman"} <= set(row)
    command("tf_perceiver.export", f"--workdir={workdir}").check()
    (tmp_path / "pair.txt").write_text("the use\tthe copy")
    said = command(
        "tf_perceiver.predict", f"--model={workdir / 'saved_model'}", tmp_path / "pair.txt"
    )
    float(said.check().stdout.partition(": ")[2])
