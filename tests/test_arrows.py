"""The architecture's rules, held by reading the imports of every module: arrows point one way.

Imports are read from the syntax tree, wherever they stand (a function's import is an import), so
nothing is executed and an unused branch counts too.
"""

from __future__ import annotations

import ast
import importlib.metadata
import pathlib
import re
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGES = ("beam_preprocess", "benchmarks", "configs", "pipelines", "tf_perceiver")
LONGEST = 450  # lines
ATTICS = {"util", "utils", "helper", "helpers", "misc", "common"}

# Who may import what of ours, beside itself. The longest prefix of a module's name decides.
COMMANDS = (
    "pipelines",
    "tf_perceiver.command_line",
    "tf_perceiver.model",
    "tf_perceiver.presets",
    "tf_perceiver.report",
    "tf_perceiver.serving",
    "tf_perceiver.tasks",
    "tf_perceiver.training",
    "tf_perceiver.weights",
)
ARROWS: dict[str, tuple[str, ...]] = {
    "beam_preprocess": ("pipelines.records", "pipelines.readers"),
    "benchmarks": PACKAGES,
    "configs": ("tf_perceiver.presets",),
    "pipelines": (),
    "pipelines.readers": (),
    "pipelines.records": (),
    "tf_perceiver": (),
    "tf_perceiver.command_line": (),
    "tf_perceiver.demo": (
        "pipelines.records",
        "tf_perceiver.command_line",
        "tf_perceiver.training.workdir",
    ),
    "tf_perceiver.evaluate": COMMANDS,
    "tf_perceiver.export": COMMANDS,
    "tf_perceiver.model": (),
    "tf_perceiver.predict": COMMANDS,
    "tf_perceiver.presets": ("tf_perceiver.command_line", "tf_perceiver.model"),
    "tf_perceiver.report": ("pipelines", "tf_perceiver.model", "tf_perceiver.training"),
    "tf_perceiver.report.__main__": COMMANDS,
    "tf_perceiver.serving": ("pipelines", "tf_perceiver.model"),
    "tf_perceiver.serving.standalone": (),
    "tf_perceiver.tasks": ("pipelines.records", "tf_perceiver.model"),
    "tf_perceiver.train": COMMANDS,
    "tf_perceiver.training": ("pipelines", "tf_perceiver.model", "tf_perceiver.tasks"),
    "tf_perceiver.weights": (
        "tf_perceiver.command_line",
        "tf_perceiver.model",
        "tf_perceiver.presets",
    ),
}
# Third-party packages that a room must do without.
FORBIDDEN: dict[str, tuple[str, ...]] = {
    "pipelines.readers": ("tensorflow", "tensorflow_io", "apache_beam"),
    "tf_perceiver.model": ("tensorflow_addons", "tensorflow_io"),
}
# The other implementations, which `make bench-peers` installs into an environment of their own:
# {module that may import them: what locks them}.
PEERS = {"benchmarks.theirs": "benchmarks/requirements-peers.txt"}
# At the end of their lives: each behind one module of ours, so that replacing one changes one file.
ISOLATED = ("tensorflow_addons", "tensorflow_io")


def _within(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(prefix + ".")


def _rule(rules: dict, module: str) -> str | None:
    """The longest key of `rules` that is the module's name or a package it lies in."""
    return max((key for key in rules if _within(module, key)), key=len, default=None)


def imported(source: str, module: str, is_package: bool) -> set[str]:
    """The dotted names that a module's source imports; `from a import b` counts as `a.b`.

    Args:
      source: its text.
      module: its dotted name, against which relative imports are resolved.
      is_package: whether the text is an `__init__.py`.
    """
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = node.module or ""
            if node.level:
                parts = module.split(".")
                parts = parts[: len(parts) - node.level + is_package]
                start = ".".join([*parts, *([node.module] if node.module else [])])
            names.update(f"{start}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = ast.unparse(node.func)
            if called in ("__import__", "import_module", "importlib.import_module"):
                names.add(str(node.args[0].value))
    return names


def _modules() -> dict[str, pathlib.Path]:
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = _modules()
IMPORTS = {
    name: imported(path.read_text(encoding="utf-8"), name, path.name == "__init__.py")
    for name, path in MODULES.items()
}


def violations(module: str, names: set[str]) -> list[str]:
    """The imports of `module` that the arrows don't allow."""
    rule = _rule(ARROWS, module)
    allowed = (*ARROWS[rule], rule) if rule != "tf_perceiver" else ARROWS[rule]
    wrong = []
    for name in sorted(names):
        ours = any(_within(name, package) for package in PACKAGES)
        if ours and name not in PACKAGES and not any(_within(name, room) for room in allowed):
            wrong.append(name)
    return wrong


def test_the_tree_is_found():
    assert {"pipelines.records", "tf_perceiver.model.perceiver"} <= set(MODULES)


@pytest.mark.parametrize("module", MODULES)
def test_arrows_point_one_way(module):
    assert _rule(ARROWS, module), f"{module} has no row in ARROWS"
    assert not violations(module, IMPORTS[module])


@pytest.mark.parametrize("module", MODULES)
def test_rooms_do_without_what_they_must_not_need(module):
    wrong = [
        name
        for room, packages in FORBIDDEN.items()
        if _within(module, room)
        for name in IMPORTS[module]
        if any(_within(name, package) for package in packages)
    ]
    assert not wrong


@pytest.mark.parametrize("package", ISOLATED)
def test_a_package_at_the_end_of_its_life_is_imported_in_one_module(package):
    users = [name for name in MODULES if any(_within(it, package) for it in IMPORTS[name])]
    assert len(users) <= 1, f"{package} is imported by {users}"


@pytest.mark.parametrize("module", MODULES)
def test_a_module_has_one_job_and_says_which(module):
    path = MODULES[module]
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= LONGEST, f"{path.relative_to(ROOT)} has {lines} lines"
    assert path.stem not in ATTICS
    if lines:
        assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


def test_other_peoples_packages_are_locked_and_no_tool_of_ours_is_needed_to_run():
    names = {
        name.partition(".")[0]
        for module, names in IMPORTS.items()
        if module not in PEERS
        for name in names
    }
    foreign = names - set(PACKAGES) - sys.stdlib_module_names
    lock = re.findall(r"^([\w.-]+)==", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    bringers = importlib.metadata.packages_distributions()
    for name in sorted(foreign):
        brought_by = {_normal(it) for it in bringers.get(name, ())}
        assert brought_by & set(lock), f"{name} is imported and not locked"
        assert not brought_by & {"pytest", "hypothesis", "ruff", "codespell"}, name


@pytest.mark.parametrize("module", PEERS)
def test_other_implementations_are_locked_apart(module):
    names = {name.partition(".")[0] for name in IMPORTS[module]}
    foreign = {_normal(name) for name in names - set(PACKAGES) - sys.stdlib_module_names}
    lock = re.findall(r"^([\w.-]+)==", (ROOT / PEERS[module]).read_text(), re.MULTILINE)
    assert foreign
    assert foreign <= {_normal(name) for name in lock}
    # Nothing of ours that needs our own packages: its interpreter has none of them.
    reached, waiting = set(), {module}
    while waiting:
        reached |= waiting
        found = {
            known
            for it in waiting
            for name in IMPORTS[it]
            for known in MODULES
            if name == known or name.startswith(known + ".") and known != "benchmarks"
        }
        waiting = found - reached
    assert len(reached) > 1
    for it in reached - {module}:
        tops = {name.partition(".")[0] for name in IMPORTS[it]}
        assert tops <= sys.stdlib_module_names | {"benchmarks"}, it


def _normal(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


@pytest.mark.parametrize(
    ("module", "source", "wrong"),
    [
        ("pipelines.image", "from pipelines import records", None),
        ("pipelines.image", "from tf_perceiver.model import x", "tf_perceiver.model.x"),
        ("pipelines.readers.image", "from pipelines import records", "pipelines.records"),
        ("pipelines.records", "def f():\n  from . import image", "pipelines.image"),
        ("tf_perceiver.model.encoder", "from tf_perceiver.model import attention", None),
        ("tf_perceiver.model.encoder", "from ..tasks import x", "tf_perceiver.tasks.x"),
        ("configs.digits", "import tf_perceiver.train", "tf_perceiver.train"),
        ("configs.digits", "import_module('pipelines.image')", "pipelines.image"),
        ("beam_preprocess.run", "from pipelines.readers import image, points", None),
        ("beam_preprocess.run", "import configs.digits", "configs.digits"),
        ("tf_perceiver.tasks.flow", "from tf_perceiver import predict", "tf_perceiver.predict"),
        ("tf_perceiver.unheard_of", "from tf_perceiver import model", "tf_perceiver.model"),
    ],
)
def test_a_wrong_arrow_is_seen(module, source, wrong):
    found = violations(module, imported(source, module, is_package=False))
    assert found == ([wrong] if wrong else [])
