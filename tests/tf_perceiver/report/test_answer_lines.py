"""What is told of an answer in a line."""

from __future__ import annotations

import json

import numpy as np

from tf_perceiver.report import answer_lines
from tf_perceiver.report.answer_lines import Answer, Wanted


def test_bytes_that_a_terminal_would_obey_are_escaped():
    asked = {"text_bytes": np.array("caf\u00e9 [MASK][MASK]!".encode(), object)}
    said = np.full(12, ord("x"), np.uint8)
    said[6:8] = (0x1B, ord("o"))  # Behind six bytes, of which the e with its accent has two.
    answer = Answer("a.txt", {"bytes": said, "scores": np.linspace(0, 1, 12)}, asked=asked)
    assert answer_lines.filled(answer, Wanted([])) == "a.txt: caf\u00e9 \\x1bo!"
    row = json.loads(answer_lines.filled(answer, Wanted([], as_json=True)))
    assert row["text"] == "caf\u00e9 \x1bo!"
