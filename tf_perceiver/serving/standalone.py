"""Asks an exported model for predictions with TensorFlow alone: an example client, and a proof.

    python -I -S tf_perceiver/serving/standalone.py --alone SAVED_MODEL FILE...

`-I -S` keeps the current folder and every `.pth` file out of `sys.path`, and with them an editable
install of this package; the script then adds the environment's site-packages itself. With `--alone`
it refuses to run where a package of ours could be imported. It prints one JSON line a file:
`{"file": ..., "label": ..., "score": ...}`.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import pathlib
import sys
import sysconfig
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

OURS = ("tf_perceiver", "pipelines", "beam_preprocess", "configs")
BATCH = 64  # files a request
READ = ("image_bytes", "points", "text_bytes", "waveform")


def add_site_packages() -> None:
    """Makes the environment of this interpreter importable where `-S` left it out."""
    environment = os.path.dirname(os.path.dirname(os.path.abspath(sys.executable)))
    folder = sysconfig.get_path("purelib", "venv", vars={"base": environment})
    if folder not in sys.path:
        sys.path.append(folder)


def version_folder(model: pathlib.Path) -> pathlib.Path:
    """The SavedModel itself, or the highest version below, as TensorFlow Serving chooses it.

    Raises:
      ValueError: if there is neither.
    """
    if (model / "saved_model.pb").exists():
        return model
    versions = [path for path in model.glob("[0-9]*/") if path.name.isdecimal()]
    if not versions:
        raise ValueError(
            f"{model} has neither saved_model.pb nor a version folder; "
            "name what tf_perceiver.export wrote"
        )
    return max(versions, key=lambda path: int(path.name))


def predict(model: pathlib.Path, files: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yields the prediction for each file, in order.

    Args:
      model: a SavedModel or the folder of its versions.
      files: encoded images for a model of `image_bytes`, texts for one of `text_bytes`; `.npy`
        files, float32 [n, 3], for one of `points`; WAV files of 16 bits at the model's rate for one
        of `waveform`.

    Raises:
      ValueError: no SavedModel there, or one of something else or without labels; a sound of
        another kind or rate.
      OSError: a file can't be read.
    """
    folder = version_folder(model)
    for file in files:  # before the seconds that TensorFlow takes
        pathlib.Path(file).open("rb").close()

    import numpy as np
    import tensorflow as tf

    # The loaded object owns the variables, so it must live as long as the signature is called.
    loaded = tf.saved_model.load(str(folder))
    serving = loaded.signatures["serving_default"]
    asked = serving.structured_input_signature[1]
    name, spec = next(iter(asked.items()))
    if len(asked) > 1 or name not in READ:
        raise ValueError(
            f"the model takes {' and '.join(sorted(asked))}, this client sends one of "
            f"{', '.join(READ)}; ask it by tf_perceiver.predict or over HTTP"
        )

    def read(file: str) -> Any:
        if name == "points":
            return np.load(file).astype(np.float32)
        content = pathlib.Path(file).read_bytes()
        if name.endswith("_bytes"):
            return content
        try:
            properties = json.loads((folder / "assets" / "properties.json").read_text())
            channels, rate = tf.audio.decode_wav(content)
        except tf.errors.InvalidArgumentError as error:
            raise ValueError(f"{file}: no WAV of 16 bits ({error.message[:80]})") from None
        if rate != properties["sample_rate"]:
            raise ValueError(
                f"{file} has {int(rate)} samples a second, the model takes "
                f"{properties['sample_rate']}; resample it first"
            )
        return channels.numpy().mean(axis=1)

    size = BATCH if spec.dtype == tf.string else 1  # clouds of different sizes don't stack
    for start in range(0, len(files), size):
        names = files[start : start + size]
        batch = tf.constant([read(file) for file in names])
        answer = serving(**{name: batch})
        if "label" not in answer:
            raise ValueError(
                f"{folder} answers with {' and '.join(sorted(answer))}; this client tells labels"
            )
        for file, label, score in zip(names, answer["label"], answer["score"], strict=True):
            yield {"file": file, "label": label.numpy().decode(), "score": round(float(score), 4)}


def main() -> int:
    """Parses the command line and prints the predictions; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--alone", action="store_true", help="fail where we can be imported")
    parser.add_argument("model", type=pathlib.Path, help="SavedModel or folder of its versions")
    parser.add_argument("files", nargs="+", help="images, texts, .npy clouds, or WAV files")
    arguments = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    warnings.filterwarnings("ignore", category=FutureWarning, module="google")
    add_site_packages()
    found = [package for package in OURS if importlib.util.find_spec(package)]
    try:
        if arguments.alone and found:
            raise ValueError(f"{found[0]} can be imported here; run with python -I -S")
        for prediction in predict(arguments.model, arguments.files):
            print(json.dumps(prediction))
    except (ValueError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
