"""Files of another modality than the model's are called by what they most likely are."""

from __future__ import annotations

import pytest

from tf_perceiver.serving import raw_files


@pytest.mark.parametrize(
    ("file", "modality", "message"),
    [
        ("a.MP4", "image", "a.MP4 is a video, the model takes an image"),
        ("a.mpg", "points", "is a video, the model takes a point cloud"),
        ("a.wav", "audio_video", "is a sound, the model takes a video"),
        ("a.txt", "audio", "is a text, the model takes a sound"),
        ("a.csv", "image", "is a table, the model takes an image"),
        ("a.off", "text", "is a point cloud, the model takes a text"),
        ("a.npz", "omics", "is features of a clip, the model takes a table"),
        ("a.png", "series", "is an image, the model takes a series of measurements"),
        # What is no other kind's is read, and refused for what is in it.
        ("a.json", "image", "a.json: cannot identify image file"),
        # A table is what the model takes, text and clouds have this extension too.
        ("b.txt", "points", "b.txt: no numbers"),
        ("a.csv", "series", "a.csv begins with 'nothing', expected Time,Parameter,Value"),
        ("missing.png", "image", "missing.png can't be read: No such file"),
    ],
)
def test_a_file_of_another_kind_is_named(file, modality, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if not file.startswith("missing"):
        (tmp_path / file).write_text("nothing")
    properties = {"layout": "physionet2012"}
    with pytest.raises(ValueError, match=message) as caught:
        raw_files.read([file] * raw_files.RAW_KINDS[modality].files, modality, properties)
    assert "\n" not in str(caught.value)


def test_every_modality_can_be_asked_about():
    from pipelines.preparation import MODALITIES

    assert set(raw_files.RAW_KINDS) == set(MODALITIES)
