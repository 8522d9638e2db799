"""Google Cloud Dataflow: its options checked up front, our packages built for its workers."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

from beam_preprocess.manifest import InputError

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions

# What the build needs; packages are added as folders. Tests and data never leave this machine.
_BUILD_FILES = ("setup.cfg", "pyproject.toml", "README.md", "LICENSE")
_PACKAGES = ("tf_perceiver", "pipelines", "beam_preprocess", "configs")


def check_options(options: PipelineOptions, input_folder: str, output: str) -> None:
    """Checks before any work what Dataflow would refuse after minutes.

    Raises:
      InputError: missing project, region or temp_location (all missing ones in one line), or
        locations that Dataflow's workers cannot reach.
    """
    from apache_beam.options.pipeline_options import GoogleCloudOptions

    cloud = options.view_as(GoogleCloudOptions)
    examples = {"project": "PROJECT", "region": "REGION", "temp_location": "gs://BUCKET/tmp"}
    missing = [
        f"--{name}={example}" for name, example in examples.items() if not getattr(cloud, name)
    ]
    if missing:
        raise InputError(f"--runner=DataflowRunner also needs {' '.join(missing)}")
    for flag, location in (
        ("--temp_location", cloud.temp_location),
        ("--input", input_folder),
        ("--output", output),
    ):
        if not location.startswith("gs://"):
            raise InputError(
                f"{flag}={location}: Dataflow's workers cannot reach it; use gs://BUCKET/FOLDER"
            )


def build_wheel(folder: str) -> str:
    """Builds a wheel of our packages from the source tree that this module belongs to.

    Args:
      folder: gets the wheel.

    Returns:
      Path of the wheel.

    Raises:
      InputError: our packages were installed without their source tree, or the build failed.
    """
    root = pathlib.Path(__file__).resolve().parent.parent
    if not (root / "setup.cfg").exists():
        raise InputError(
            f"Dataflow's workers need our packages, but {root} is no source tree to build them "
            "from; build a wheel and name it with --extra_package=WHEEL"
        )
    # setuptools writes build folders beside its sources: let it do so in a copy.
    source = pathlib.Path(folder, "source")
    source.mkdir()
    for name in _BUILD_FILES:
        if (root / name).exists():
            shutil.copy(root / name, source)
    for name in _PACKAGES:
        shutil.copytree(root / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    # Without build isolation: no download, the same setuptools that the lock pins.
    script = "import sys; from setuptools import build_meta as b; b.build_wheel(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, os.path.abspath(folder)],
        cwd=source,
        capture_output=True,
        text=True,
        check=False,
    )
    wheels = list(pathlib.Path(folder).glob("*.whl"))
    if done.returncode or not wheels:
        reason = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()[-1]
        raise InputError(f"our packages could not be built for Dataflow's workers: {reason}")
    return str(wheels[0])


def stage_packages(options: PipelineOptions, folder: str) -> None:
    """Adds our wheel to what Beam installs on workers, unless the user names packages of their own.

    Args:
      options: gets `extra_packages`.
      folder: temporary folder that lives until the job is submitted.

    Raises:
      InputError: as `build_wheel`.
    """
    from apache_beam.options.pipeline_options import SetupOptions

    setup = options.view_as(SetupOptions)
    if setup.extra_packages or setup.setup_file or _container_image(options):
        return
    setup.extra_packages = [build_wheel(folder)]


def contact_cloud() -> None:
    """Obtains an access token: the first contact with the cloud.

    Google's storage client would retry for two minutes before it says that there are no credentials
    or no network.

    Raises:
      InputError: no credentials, or their server does not answer; the message says which.
    """
    import google.auth
    import google.auth.exceptions
    import google.auth.transport.requests

    try:
        credentials, _ = google.auth.default(
            scopes=["https://www.googleapis.com/auth/cloud-platform"]
        )
    except google.auth.exceptions.GoogleAuthError as error:
        raise InputError(
            f"no Google Cloud credentials ({_first_sentence(error)}); "
            "run gcloud auth application-default login"
        ) from None
    try:
        credentials.refresh(google.auth.transport.requests.Request())
    except google.auth.exceptions.GoogleAuthError as error:
        raise InputError(
            f"Google Cloud did not accept the credentials ({_first_sentence(error)}); check the "
            "network, or run gcloud auth application-default login"
        ) from None


def _first_sentence(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text.split(". ")[0][:200]


def _container_image(options: PipelineOptions) -> str | None:
    from apache_beam.options.pipeline_options import WorkerOptions

    return options.view_as(WorkerOptions).sdk_container_image
