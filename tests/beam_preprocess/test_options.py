"""The command line: what is refused, and with which words."""

from __future__ import annotations

import pytest
from apache_beam.options.pipeline_options import DirectOptions, StandardOptions

from beam_preprocess import options
from beam_preprocess.datasets import DATASETS
from beam_preprocess.datasets.dataset import ReadOptions
from beam_preprocess.manifest import InputError, parse_splits

NEEDED = ["--dataset=digits", "--input=a", "--output=b"]


def test_our_flags_and_beams_are_told_apart():
    flags = options.parse([*NEEDED, "--shards", "3", "--direct_num_workers=2", "--overwrite"])
    assert (flags.dataset, flags.shards, flags.overwrite) == ("digits", 3, True)
    assert flags.reading == ReadOptions()
    assert flags.max_reject_fraction == 0.001
    assert flags.beam == ("--direct_num_workers=2",)
    parsed = options.beam_options(flags.beam)
    assert parsed.view_as(DirectOptions).direct_num_workers == 2


@pytest.mark.parametrize("flags", [[], ["--runner=DirectRunner"]])
def test_local_jobs_do_not_look_for_another_runner(flags):
    parsed = options.beam_options(flags)
    assert parsed.view_as(StandardOptions).runner == "FnApiRunner"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ["--dataset=digit", "--input=a", "--output=b"],
            r"did you mean digits\? there are .*, digits, ",
        ),
        (["--dataset=digits"], "required: --input, --output"),
        ([*NEEDED, "--shards=0"], "--shards=0: must be from 1"),
        ([*NEEDED, "--shards=many"], "--shards: invalid int value: 'many'"),
        ([*NEEDED, "--max_reject_fraction=1.5"], "must be 0 to 1"),
        ([*NEEDED, "--max_reject_fraction=nan"], "must be 0 to 1"),
        ([*NEEDED, "--num_points=3"], "--num_points=3: must be at least 16"),
        ([*NEEDED, "--sample_rate=1000000"], "--sample_rate=1000000: must be at most 768000"),
        ([*NEEDED, "--num_points=32"], "--num_points: digits has no such option; .* it has none"),
        (
            ["--dataset=cifar_binary", *NEEDED[1:], "--label_names=fines"],
            r"--label_names=fines: did you mean fine\? there are fine, coarse",
        ),
        (["--help-dataset=fsd"], r"--help-dataset=fsd: did you mean fsdd\?"),
        (["--dataset=digits", "--input=a", "--output=a/b"], "lies inside --input"),
        (["--dataset=digits", "--input=a", "--output=./a"], "lies inside --input"),
    ],
)
def test_bad_values_of_our_flags(flags, message):
    with pytest.raises(InputError, match=message):
        options.parse(flags)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--shard=3"], r"unknown flag --shard: .*did you mean --shards\?"),
        (["--direct_num_worker=3"], r"did you mean --direct_num_workers\?"),
        (["--temp_locaton=gs://a"], r"did you mean --temp_location\?"),
        (["--zzz"], "unknown flag --zzz: .*see --help"),
        (["stray"], "'stray' belongs to no flag"),
        (["--direct_num_workers=x"], "invalid int value: 'x'; this is an option of Apache Beam"),
        (["--direct_running_mode=x"], "invalid choice: 'x'"),
        (["--runner=Flonk"], "--runner=Flonk: .*DataflowRunner"),
    ],
)
def test_misspelt_flags_get_a_suggestion(flags, message):
    with pytest.raises(InputError, match=message):
        options.beam_options(flags)


def test_help_shows_datasets_and_layouts(capsys):
    with pytest.raises(SystemExit) as caught:
        options.parse(["--help"])
    assert caught.value.code == 0
    shown = capsys.readouterr().out
    for text in (
        "image_folder:",
        "modelnet40:",
        "CLASS/*.jpg with --splits",
        "val_annotations.txt",
    ):
        assert text in shown


def test_a_dataset_says_all_about_itself_without_other_flags(capsys):
    with pytest.raises(SystemExit) as caught:
        options.parse(["--help-dataset", "esc50"])
    assert caught.value.code == 0
    shown = capsys.readouterr().out
    for text in ("meta/esc50.csv", "--sample_rate=N", "--test_fold=N", "audio: int16 [any]"):
        assert text in shown
    assert "--num_points" not in shown


def test_what_a_record_has_because_of_an_option_is_said(capsys):
    with pytest.raises(SystemExit):
        options.parse(["--help-dataset=tcga_brca"])
    assert "\n  patches: float32 [any], with --bags\n" in capsys.readouterr().out


@pytest.mark.parametrize("name", DATASETS)
def test_a_dataset_fits_the_screen_and_its_splits_can_be_parsed(name):
    assert all(len(line) <= 100 for line in (DATASETS[name].summary, *DATASETS[name].layouts))
    assert sum(parse_splits(DATASETS[name].example_splits).values()) == pytest.approx(1)


def test_the_list_of_datasets_has_all_of_them(capsys):
    with pytest.raises(SystemExit):
        options.parse(["--help-dataset"])
    shown = capsys.readouterr().out
    assert [line.partition(":")[0] for line in shown.splitlines()] == list(DATASETS)


@pytest.mark.parametrize("name", DATASETS)
def test_options_reach_the_reader(name):
    given = {"seed": 7, "num_points": 99, "sample_rate": 8_000, "test_fold": 2}
    given |= {"label_names": "coarse", "piece_bytes": 64, "glue_task": "rte"}
    given |= {"pairs": 3, "max_side": 100, "motion": 5, "fps": 10, "frame_size": 64}
    given |= {"min_frames": 4}
    given |= {"benchmark": "vggsound", "stage": 2, "feature_set": "main"}
    given |= {"audio_width": 40, "video_width": 50}
    given |= {"bags": "slides", "patch_width": 60, "max_patches": 70}
    has = {option: given[option] for option in DATASETS[name].options}
    flags = options.parse(
        [f"--dataset={name}", "--input=a", "--output=b"] + [f"--{k}={v}" for k, v in has.items()]
    )
    assert flags.reading == ReadOptions(**has)
