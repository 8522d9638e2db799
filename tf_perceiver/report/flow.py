"""The report on optical flow."""

from __future__ import annotations

from typing import Any

import numpy as np

from tf_perceiver.report import evaluation, flow_pictures, sections
from tf_perceiver.report.evaluation import Batch
from tf_perceiver.report.flow_pictures import Example
from tf_perceiver.report.page import Headline, Section
from tf_perceiver.report.run import Batches, Run

EXAMPLES = 6
CURVES = (
    ("loss", "loss", False),
    ("epe", "end-point error in px", False),
    ("fl_all", "outliers", True),
    ("learning_rate", "learning rate", False),
)


def parts(run: Run, batches: Batches) -> tuple[list[Headline], list[Section]]:
    """Errors over all pixels, and pairs with their true and their found flow.

    Args:
      run: whose model is run once over the batches.
      batches: of the evaluation split, as `pipelines.flow.prepare_eval` gives them, with "weight".

    Raises:
      ValueError: the batches hold no example.
    """
    values, count, examples = evaluation.evaluated(run, batches, ("image",), shown, EXAMPLES)
    headlines = [
        Headline(f"{values['epe']:.2f} px", f"mean end-point error on {run.split}"),
        Headline(f"{values['zero_epe']:.2f} px", "of the answer that nothing moves"),
        Headline(f"{100 * values['fl_all']:.1f} %", "outliers (above 3 px and 5 %)"),
        Headline(f"{count:,}", "pairs, each counted once"),
    ]
    return headlines, [sections.curves(run, CURVES), answers(run, examples)]


def shown(run: Run, batch: Batch, outputs: Any, i: int) -> Example:
    """Pair `i` of a batch."""
    del run
    return Example(
        (np.asarray(batch["image"][i]) + 1) / 2,
        np.array(batch["flow"][i]),
        np.array(outputs[i]),
        np.asarray(batch["valid"][i]) > 0,
    )


def answers(run: Run, examples: list[Example]) -> Section:
    """The pairs, and the wheel that says what the colours are."""
    text = (
        f"Pairs of {run.split}, evenly spread over it. A colour's hue says where a pixel moves, "
        "its saturation how far; the true and the found flow of a pair have one scale, whose full "
        "colour is the longest true motion, or one pixel. Black: not known."
    )
    caption = "Errors run from 0 (dark) to the pair's own largest (bright)."
    drawn = [
        sections.picture(
            "flow", flow_pictures.draw(examples), "Frames, true and found flow, errors.", caption
        ),
        sections.picture(
            "wheel", flow_pictures.draw_wheel(), "The colours of all directions.",
            "Where a pixel moves, seen from the middle.", wide=False,
        ),
    ]  # fmt: skip
    return Section("Answers", text, drawn)
