"""The report on autoencoding."""

from __future__ import annotations

from typing import Any

import numpy as np

from tf_perceiver.report import evaluation, reconstructions, sections
from tf_perceiver.report.evaluation import Batch
from tf_perceiver.report.page import Headline, Section
from tf_perceiver.report.run import Batches, Run

EXAMPLES = 6
CURVES = (
    ("loss", "loss", False),
    ("video_psnr", "PSNR of the picture in dB", False),
    ("audio_psnr", "PSNR of the sound in dB", False),
    ("accuracy", "accuracy of hidden labels", True),
    ("learning_rate", "learning rate", False),
)
_INPUTS = ("image", "audio", "label", "label_masked")

Answer = dict[str, Any]  # Of one clip, with "truth", the name of its label.


def parts(run: Run, batches: Batches) -> tuple[list[Headline], list[Section]]:
    """How near reconstructions are, and some of them beside what they were made of.

    Args:
      run: whose model is run once over the batches.
      batches: of the evaluation split, as `pipelines.autoencoding.prepare_eval` gives them, with
        "label" one-hot and "weight".

    Raises:
      ValueError: the batches hold no example.
    """
    values, count, examples = evaluation.evaluated(run, batches, _INPUTS, shown, EXAMPLES)
    headlines = [
        Headline(f"{values['video_psnr']:.2f} dB", f"PSNR of the picture on {run.split}"),
        Headline(f"{values['audio_psnr']:.2f} dB", "PSNR of the sound"),
        Headline(f"{100 * values['accuracy']:.1f} %", "of the hidden labels found"),
        Headline(f"{count:,}", "clips, each counted once"),
    ]
    return headlines, [sections.curves(run, CURVES), answers(run, examples)]


def shown(run: Run, batch: Batch, outputs: Any, i: int) -> Answer:
    """What the task answers about clip `i` of a batch, and its true label."""
    answer = {name: np.array(field[i]) for name, field in run.task.answers(outputs).items()}
    return {**answer, "truth": run.labels[int(np.argmax(batch["label"][i]))]}


def answers(run: Run, examples: list[Answer]) -> Section:
    """The clips, what they were above what they became."""
    cfg = run.data["autoencoding"]
    video, audio = cfg["video"], cfg["audio"]
    seconds = audio["samples"] / audio["sample_rate"]
    text = (
        f"Clips of {run.split}, evenly spread over it: of {video['frames']} frames up to "
        f"{reconstructions.COLUMNS}, the original above the reconstruction; below them "
        f"{seconds:.3g} s of sound, the original in blue, the reconstruction in red, both by the "
        "original's peak. "
        "The label was hidden from the model. PSNR is of each clip, the peaks being 1 for pixels "
        "in [0, 1] and 2 for samples in [-1, 1]; means are over the clips."
    )
    titles = [
        f"{one['truth']}; the model says {one['label'].item().decode()}, {100 * one['score']:.0f} %"
        for one in examples
    ]
    figure = reconstructions.draw(examples, titles)
    alt = "Frames and waveforms of clips, original and reconstructed."
    return Section("Answers", text, [sections.picture("reconstructions", figure, alt)])
