"""What setup.cfg promises: every module shipped, no test shipped, every dependency named once."""

from __future__ import annotations

import configparser
import pathlib
import re

import pytest
import setuptools

import tf_perceiver

ROOT = pathlib.Path(__file__).resolve().parent.parent
SHIPPED = ("beam_preprocess", "configs", "pipelines", "tf_perceiver")
# Named in requirements.in for those who work on the code, not for those who use it.
DEVELOPMENT = {"codespell", "hypothesis", "pytest", "pytest-xdist", "ruff"}


def _lines(text: str) -> list[str]:
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


@pytest.fixture(scope="module")
def setup():
    """setup.cfg, parsed."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


@pytest.fixture(scope="module")
def lock():
    """The locked version of every package."""
    pins = (line.split("==") for line in _lines((ROOT / "requirements.txt").read_text()))
    return {name.partition("[")[0]: version for name, version in pins}


def test_every_module_is_shipped_and_no_test(setup):
    include = _lines(setup["options.packages.find"]["include"])
    found = set(setuptools.find_packages(str(ROOT), include=include))
    assert {name.partition(".")[0] for name in found} == set(SHIPPED)
    folders = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for package in SHIPPED
        for path in (ROOT / package).rglob("*.py")
    }
    assert folders == found, "a folder with modules lacks __init__.py"


def test_install_requires_is_what_we_ask_for_without_the_tools(setup):
    asked = _lines((ROOT / "requirements.in").read_text())
    assert set(asked) > DEVELOPMENT
    ours = _lines(setup["options"]["install_requires"])
    assert ours == [line for line in asked if line not in DEVELOPMENT]


def test_everything_asked_for_is_in_the_lock_at_an_allowed_version(lock):
    for line in _lines((ROOT / "requirements.in").read_text()):
        name, relation, version = re.fullmatch(r"([\w-]+)(?:\[.*\])?(==|<)?(.*)", line).groups()
        assert name in lock
        if relation == "==":
            assert lock[name] == version
        elif relation == "<":
            numbers = [[int(part) for part in it.split(".")] for it in (lock[name], version)]
            assert numbers[0] < numbers[1]


def test_the_version_is_the_changelogs(setup):
    assert setup["metadata"]["version"] == "attr: tf_perceiver.__version__"
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[1]
    assert newest == tf_perceiver.__version__


def test_python_is_the_one_that_the_lock_was_made_for(setup):
    assert setup["options"]["python_requires"] == ">=3.11,<3.12"
    assert "--python-version 3.11 " in (ROOT / "requirements.txt").read_text()[:200]
