"""Dataflow as far as the first contact with the cloud."""

from __future__ import annotations

import zipfile

import pytest
from apache_beam.options.pipeline_options import PipelineOptions, SetupOptions
from apache_beam.runners.portability.stager import Stager

from beam_preprocess import dataflow
from beam_preprocess.manifest import InputError

CLOUD = ["--project=p", "--region=r", "--temp_location=gs://b/tmp"]
FOLDERS = ("gs://b/in", "gs://b/out")


def test_complete_options_pass():
    dataflow.check_options(PipelineOptions(CLOUD), *FOLDERS)


@pytest.mark.parametrize(
    ("flags", "folders", "message"),
    [
        (CLOUD[1:], FOLDERS, r"also needs --project=PROJECT$"),
        (CLOUD[:1], FOLDERS, r"also needs --region=REGION --temp_location=gs://BUCKET/tmp$"),
        ([*CLOUD[:2], "--temp_location=/here"], FOLDERS, "--temp_location=/here: .*cannot reach"),
        (CLOUD, ("data", "gs://b/out"), "--input=data: .*cannot reach it; use gs://"),
        (CLOUD, ("gs://b/in", "out"), "--output=out: .*cannot reach"),
    ],
)
def test_what_dataflow_would_refuse_is_named_at_once(flags, folders, message):
    with pytest.raises(InputError, match=message):
        dataflow.check_options(PipelineOptions(flags), *folders)


def test_our_packages_are_built_and_staged_for_workers(tmp_path, checkout):
    parsed = PipelineOptions(CLOUD)
    dataflow.stage_packages(parsed, str(tmp_path))
    [wheel] = parsed.view_as(SetupOptions).extra_packages
    names = set(zipfile.ZipFile(wheel).namelist())
    for package in ("beam_preprocess", "pipelines"):
        sources = {str(p.relative_to(checkout)) for p in (checkout / package).rglob("*.py")}
        assert sources <= names
    assert not [name for name in names if name.startswith("tests")]
    # No litter of the build; build/ itself may be there, the demo works in it.
    assert not (checkout / "build" / "lib").exists()
    # What Beam itself would upload.
    staged = Stager.create_job_resources(parsed, str(tmp_path))
    assert wheel.rsplit("/", 1)[1] in str(staged)


def test_a_package_of_the_users_own_is_left_alone(tmp_path):
    parsed = PipelineOptions([*CLOUD, "--extra_package=mine.whl"])
    dataflow.stage_packages(parsed, str(tmp_path))
    assert parsed.view_as(SetupOptions).extra_packages == ["mine.whl"]


def test_without_credentials_the_command_ends_with_one_line(command, tmp_path):
    ended = command(
        "beam_preprocess.run",
        "--dataset=image_folder",
        f"--input={FOLDERS[0]}",
        f"--output={FOLDERS[1]}",
        "--runner=DataflowRunner",
        *CLOUD,
        env={
            "NO_GCE_CHECK": "true",
            "HOME": str(tmp_path),
            "CLOUDSDK_CONFIG": str(tmp_path),
            "GOOGLE_APPLICATION_CREDENTIALS": None,
        },
    )
    assert ended.returncode == 2
    assert "no Google Cloud credentials" in ended.stderr
    assert "gcloud auth application-default login" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
