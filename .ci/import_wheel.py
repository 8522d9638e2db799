"""Imports every module of the installed wheel; run from outside the checkout with `python -I`.

Each module is imported in a forked child, so that none leans on what another has imported, and the
commands, which all define --workdir, don't meet. TensorFlow and Beam are imported once, before.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import pathlib
import sys
import traceback

# What the wheel may bring into site-packages.
PACKAGES = {"tf_perceiver", "pipelines", "beam_preprocess", "configs"}
SLOW = ("tensorflow", "tensorflow_addons", "orbit", "official.modeling.optimization", "apache_beam")


def imports_cleanly(name: str, expected: pathlib.Path) -> bool:
    """Whether a module can be imported, comes from the wheel and does nothing else meanwhile."""
    pid = os.fork()
    if pid:
        return os.waitpid(pid, 0)[1] == 0
    try:
        before = (list(sys.argv), os.getcwd(), sorted(os.listdir()))
        found = pathlib.Path(importlib.import_module(name).__file__).resolve()
        if found != expected:
            raise ImportError(f"{name} came from {found}, not from the wheel")
        if before != (list(sys.argv), os.getcwd(), sorted(os.listdir())):
            raise ImportError(f"importing {name} had side effects")
    except BaseException:  # SystemExit too: a command that runs when it is imported
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def main() -> int:
    """Imports them all; returns the exit code."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    wheel = importlib.metadata.distribution("tf_perceiver")
    sources = [path for path in wheel.files if path.suffix == ".py"]
    packages = {path.parts[0] for path in sources}
    if packages != PACKAGES:
        print(f"the wheel has the packages {sorted(packages)}, not {sorted(PACKAGES)}")
        return 1
    for name in SLOW:
        importlib.import_module(name)
    failed = 0
    for path in sources:
        parts = path.with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if not imports_cleanly(name, pathlib.Path(wheel.locate_file(path)).resolve()):
            print(f"{name} can't be imported from the wheel")
            failed += 1
    print(f"{len(sources) - failed} of {len(sources)} modules import from {wheel.name}'s wheel")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
