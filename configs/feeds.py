"""``config.data`` by modality, with the paper's augmentation where it has one."""

from __future__ import annotations

from typing import Any

from ml_collections import ConfigDict


def images(
    size: tuple[int, int],
    batch_size: int,
    *,
    mean: tuple[float, ...] = (0.485, 0.456, 0.406),
    std: tuple[float, ...] = (0.229, 0.224, 0.225),
    **image: Any,
) -> ConfigDict:
    """``config.data`` for pictures, with ImageNet's augmentation unless `image` says otherwise.

    Args:
      size: (height, width) of what the model sees.
      batch_size: global, in training; evaluation takes twice as many.
      mean, std: of the channels, of values in [0, 1].
      image: further fields of ``data.image``.
    """
    fields = {
        "size": size,
        "channels": 3,
        "train_crop": "inception",
        "pad": 4,
        "crop_area": (0.08, 1.0),
        "rotate_degrees": 0.0,
        "flip": True,
        "randaugment_layers": 4,
        "randaugment_magnitude": 5,
        "eval_crop": 224 / 256,
        "mean": mean,
        "std": std,
        "permutation_seed": 0,  # Else one order of the pixels for all pictures, by this seed.
    }
    unknown = set(image) - set(fields)
    if unknown:
        raise ValueError(f"data.image has no field {sorted(unknown)}; it has {sorted(fields)}")
    return ConfigDict(
        {
            **_splits(batch_size),
            "modality": "image",
            "image": {**fields, **image},
            # As in the paper's recipe, an example takes two records; one with both_ways.
            "mixing": {"mixup_alpha": 0.0, "cutmix": False, "both_ways": False},
        }
    )


def points(num_points: int, batch_size: int) -> ConfigDict:
    """``config.data`` for point clouds, with the paper's augmentation.

    Args:
      num_points: that the model sees of each cloud.
      batch_size: global, in training; evaluation takes twice as many.
    """
    return ConfigDict(
        {
            **_splits(batch_size),
            "modality": "points",
            "points": {
                "num_points": num_points,
                "scale": (0.99, 1.01),
                "rotate": False,
                "translate": 0.0,
            },
        }
    )


def sounds(
    sample_rate: int,
    samples: int,
    batch_size: int,
    *,
    mel: dict[str, Any] | None = None,
    **audio: Any,
) -> ConfigDict:
    """``config.data`` for sound: raw samples, or a log-mel spectrogram where `mel` has fields.

    Args:
      sample_rate: of the records, in Hz.
      samples: that the model hears of each.
      batch_size: global, in training; evaluation takes twice as many.
      mel: fields of ``data.audio.mel`` other than those below. window and hop are in samples, low,
        high in Hz; mean, std and floor in dB.
      audio: further fields of ``data.audio``: the gain in dB, up or down, and SpecAugment's masks.
    """
    fields = {
        "eval_clips": 1,  # More are spread over the sound; their answers are averaged.
        "gain_db": 0.0,
        "time_masks": 0,
        "time_mask_width": 0,
        "frequency_masks": 0,
        "frequency_mask_width": 0,
    }
    bands = {
        "window": sample_rate // 20,
        "hop": sample_rate // 50,
        "bins": 64,
        "low": 20.0,
        "high": min(sample_rate / 2, 20_000.0),
        "floor": -100.0,
        "mean": -40.0,
        "std": 30.0,
    }
    for name, unknown in (("", set(audio) - set(fields)), (".mel", set(mel or {}) - set(bands))):
        if unknown:
            raise ValueError(f"data.audio{name} has no field {sorted(unknown)}")
    return ConfigDict(
        {
            **_splits(batch_size),
            "modality": "audio",
            "audio": {
                "sample_rate": sample_rate,
                "samples": samples,
                "representation": "waveform" if mel is None else "mel",
                **fields,
                **audio,
                "mel": {**bands, **(mel or {})},
            },
        }
    )


def stays(layout: str, variables: int, length: int, batch_size: int, **series: Any) -> ConfigDict:
    """``config.data`` for 48 hours of intensive care as irregular series.

    Args:
      layout: of the records, and the number of its `variables`.
      length: measurements of a stay that the model sees at most.
      batch_size: global, in training; evaluation takes twice as many.
      series: further fields of ``data.series``: `drop` and `hide`, the probabilities with which
        training leaves out a measurement, and all of a variable; `limit`, in deviations.
    """
    fields = {"hours": 48.0, "limit": 4.0, "drop": 0.0, "hide": 0.0}
    if unknown := set(series) - set(fields):
        raise ValueError(f"data.series has no field {sorted(unknown)}; it has {sorted(fields)}")
    own = {"layout": layout, "variables": variables, "length": length}
    return ConfigDict(
        {**_splits(batch_size), "modality": "series", "series": {**own, **fields, **series}}
    )


def profiles(tokens: int, width: int, batch_size: int, **omics: float) -> ConfigDict:
    """``config.data`` for molecular profiles with survival.

    Args:
      tokens: number of groups of genes. width: of the largest.
      batch_size: global, in training; evaluation takes twice as many.
      omics: further fields of ``data.omics``: clip and the noise's deviation, in deviations of a
        column; the shares of values and groups that training leaves out.
    """
    fields = {"clip": 4.0, "noise": 0.0, "feature_dropout": 0.0, "group_dropout": 0.0}
    unknown = set(omics) - set(fields)
    if unknown:
        raise ValueError(f"data.omics has no field {sorted(unknown)}; it has {sorted(fields)}")
    return ConfigDict(
        {
            **_splits(batch_size),
            "modality": "omics",
            "target": "survival",
            "omics": {"tokens": tokens, "width": width, **fields, **omics},
        }
    )


def slides(profiles: ConfigDict, length: int, width: int, **patches: float) -> ConfigDict:
    """``config.data`` for molecular profiles beside patch features of whole slides.

    Args:
      profiles: ``config.data`` for the profiles, which decides everything that the two share.
      length: patches of a patient that the model reads at most.
      width: of a patch.
      patches: further fields of ``data.omics_patches.patches``: clip and the noise's deviation, in
        deviations; dropout, the share of training patients whose patches are left out.
    """
    fields = {"clip": 5.0, "noise": 0.0, "dropout": 0.0}
    if unknown := set(patches) - set(fields):
        raise ValueError(f"data.omics_patches.patches has no field {sorted(unknown)}")
    data = profiles.to_dict()
    own = {"length": length, "patch_width": width, **fields, **patches}
    data.update(
        modality="omics_patches",
        omics_patches={"omics": data.pop("omics"), "patches": own},
        shuffle_buffer=256,  # Bags of some megabytes each.
    )
    return ConfigDict(data)


def clip_features(
    stage: int, widths: dict[str, int], lengths: dict[str, int], batch_size: int, **fields: float
) -> ConfigDict:
    """``config.data`` for features of clips' sound and picture.

    Args:
      stage: of the zero-shot protocol: 1 is evaluated on its validation classes, 2 is tested.
      widths: of a row, {"audio": ..., "video": ...}. lengths: rows that the model reads at most.
      batch_size: global, in training; evaluation takes twice as many.
      fields: further ones of ``data.clip_features``: clip and the noise's deviation, in deviations;
        the shares of training examples without sound, without picture.
    """
    usual = {"clip": 5.0, "noise": 0.0, "audio_dropout": 0.0, "video_dropout": 0.0}
    if unknown := set(fields) - set(usual):
        raise ValueError(f"data.clip_features has no field {sorted(unknown)}")
    sizes = {f"{name}_width": width for name, width in widths.items()}
    sizes |= {f"{name}_length": length for name, length in lengths.items()}
    return ConfigDict(
        {
            **_splits(batch_size),
            "modality": "clip_features",
            "clip_features": {"stage": stage, **sizes, **usual, **fields},
            "eval_split": "val" if stage == 1 else "test",
        }
    )


def texts(
    length: int, batch_size: int, *, mask_share: float = 0.0, sentences: bool = False
) -> ConfigDict:
    """``config.data`` for text as bytes.

    Args:
      length: tokens that the model sees of each text.
      batch_size: global, in training; evaluation takes twice as many.
      mask_share: of the words, which a masked language model has to find out; then there is no
        other target.
      sentences: whether a text is a sentence or two, with a tab between, to be framed.
    """
    return ConfigDict(
        {
            **_splits(batch_size),
            "modality": "text",
            "target": "none" if mask_share else "label",
            "text": {"length": length, "mask_share": mask_share, "sentences": sentences},
        }
    )


def frame_pairs(
    size: tuple[int, int], eval_size: tuple[int, int], batch_size: int, **flow: Any
) -> ConfigDict:
    """``config.data`` for optical flow, with RAFT's augmentation unless `flow` says otherwise.

    Args:
      size: (height, width) of the window that is trained on, and of a tile in evaluation.
      eval_size: of the frames in evaluation, which are padded or cut to it.
      batch_size: global, in training; evaluation takes as many.
      flow: further fields of ``data.flow``.
    """
    fields = {
        "crop": "random",
        "scale": (0.8, 1.6),  # As drawn, before it is raised where the frames are too small.
        "stretch": 0.2,  # Of one side against the other, in octaves.
        "rotate_degrees": 0.0,
        "flip": 0.5,
        "flip_vertical": 0.1,
        "brightness": 0.4,
        "contrast": 0.4,
        "saturation": 0.4,
        "hue": 0.16,  # Turns.
        "asymmetric": 0.2,  # Share of pairs whose frames are coloured differently.
        "erase": 0.5,  # Share of pairs whose second frame loses a rectangle, or two.
        "erase_size": (50, 100),  # Pixels.
    }
    unknown = set(flow) - set(fields)
    if unknown:
        raise ValueError(f"data.flow has no field {sorted(unknown)}; it has {sorted(fields)}")
    return ConfigDict(
        {
            **_splits(batch_size),
            "modality": "flow",
            "target": "none",  # The flow moves with the frames.
            "flow": {"size": size, "eval_size": eval_size, **fields, **flow},
            "eval_split": "val",
            "eval_batch_size": batch_size,
            "shuffle_buffer": 256,  # Of some megabytes each.
        }
    )


def videos(
    frames: int, size: tuple[int, int], batch_size: int, *, fps: int = 25, **video: Any
) -> ConfigDict:
    """``config.data`` for video without sound, augmented as the paper's AudioSet models are.

    Args:
      frames: that the model sees of each.
      size: (height, width) of what it sees.
      batch_size: global, in training; evaluation takes twice as many.
      fps: frames a second of the records.
      video: further fields of ``data.video``.
    """
    fields = {
        "stride": 1,  # Every so many frames of the record.
        # Where a clip lies: 0 at the record's beginning, 1 at its end. Training draws from
        # place - jitter / 2 to place + jitter / 2.
        "place": 0.5,
        "jitter": 1.0,
        "eval_clips": 1,  # More are spread over the record; their answers are averaged.
        # (top, left, height, width), shares of the picture: the rest is never looked at.
        "region": (0.0, 0.0, 1.0, 1.0),
        "train_crop": "inception",
        "crop_area": (0.08, 1.0),
        "eval_crop": 224 / 256,
        "flip": True,
        "brightness": 32 / 255,
        "contrast": 0.5,
        "saturation": 0.5,
        "hue": 0.2,
        "mean": (0.5, 0.5, 0.5),
        "std": (0.5, 0.5, 0.5),
    }
    unknown = set(video) - set(fields)
    if unknown:
        raise ValueError(f"data.video has no field {sorted(unknown)}; it has {sorted(fields)}")
    return ConfigDict(
        {
            **_splits(batch_size),
            "modality": "video",
            "video": {"fps": fps, "frames": frames, "size": size, **fields, **video},
        }
    )


def seen_and_heard(
    video: ConfigDict, audio: ConfigDict, *, video_dropout: float = 0.3, audio_dropout: float = 0.0
) -> ConfigDict:
    """``config.data`` for picture and sound at once.

    Args:
      video: ``config.data`` for the picture, which decides everything that the two share.
      audio: ``config.data`` for the sound.
      video_dropout, audio_dropout: shares of the training examples without picture, without sound.
    """
    data = video.to_dict()
    data.update(
        modality="audio_video",
        audio_video={
            "video": data.pop("video"),
            "audio": audio.audio.to_dict(),
            "video_dropout": video_dropout,
            "audio_dropout": audio_dropout,
        },
    )
    return ConfigDict(data)


def clips(
    video: ConfigDict,
    audio: ConfigDict,
    *,
    audio_patch: int,
    image_queries: int = 512,
    audio_queries: int = 512,
    label_mask_share: float = 0.5,
) -> ConfigDict:
    """``config.data`` for the autoencoding of picture, sound and label.

    Args:
      video: ``config.data`` for the picture, which decides everything that the two share.
      audio: ``config.data`` for the sound.
      audio_patch: samples that one query of the decoder answers with.
      image_queries, audio_queries: of a clip in training, see `pipelines.autoencoding`.
      label_mask_share: of the training examples, whose label is hidden from the model.
    """
    data = video.to_dict()
    seen = {**data.pop("video"), "mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
    data.update(
        modality="autoencoding",
        autoencoding={
            "video": seen,
            "audio": audio.audio.to_dict(),
            "audio_patch": audio_patch,
            "image_queries": image_queries,
            "audio_queries": audio_queries,
            "label_mask_share": label_mask_share,
        },
        eval_split="val",
        eval_batch_size=video.batch_size,
        shuffle_buffer=512,  # Whole videos, of some megabytes each.
    )
    return ConfigDict(data)


def _splits(batch_size: int) -> dict[str, Any]:
    return {
        "train_split": "train",
        "eval_split": "test",
        "batch_size": batch_size,
        "eval_batch_size": 2 * batch_size,
        "shuffle_buffer": 16384,
        "target": "label",  # Of pipelines.targets.
        # Dispatchers of tf.data service that training's examples come from, separated by commas,
        # such as "grpc://HOST:PORT"; each with one worker. Without any, each host prepares its own.
        "service": "",
    }
