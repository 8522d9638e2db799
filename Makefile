# Everything runs in .venv, which the first target that needs it sets up. `make help` lists the targets.

PYTHON ?=
UV = .venv/bin/python -m uv
UV_VERSION = 0.13.9
export UV_HTTP_TIMEOUT ?= 300
export PIP_DISABLE_PIP_VERSION_CHECK = 1
export PIP_NO_INPUT = 1

# uv leaves bytecode out, as pip doesn't: compile, of all that is locked, what the commands
# import, so that they start in half the time.
IMPORTS = apache_beam.runners.portability.fn_api_runner, jinja2, matplotlib.pyplot, orbit, rich.live, \
  sklearn.datasets, tensorflow_addons, tensorflow_datasets
COMPILE = @env -u PYTHONDONTWRITEBYTECODE TF_CPP_MIN_LOG_LEVEL=3 .venv/bin/python -W ignore -c \
  'import logging; logging.disable(); import $(IMPORTS)'

.DEFAULT_GOAL := help
.PHONY: help .venv demo test soak lint bench bench-peers modalities clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z.-]+:.*## / {printf "%-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv: .venv/installed  ## set up .venv: the locked packages and this one, editable

# The stamp is written last, so an interrupted set-up is taken up again.
.venv/installed: requirements.txt setup.cfg
	@set -e; found=; \
	for python in $(PYTHON) python3.11 python3; do \
	  if "$$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then \
	    found=$$python; break; \
	  fi; \
	done; \
	if [ -z "$$found" ]; then \
	  echo "error: CPython 3.11 is needed (tensorflow-addons has nothing newer) and neither" \
	       "python3.11 nor python3 is it: install it, or name it with make PYTHON=/path/to/python3.11" >&2; \
	  exit 1; \
	fi; \
	"$$found" -m venv .venv
	.venv/bin/python -m pip install --quiet uv==$(UV_VERSION)
	$(UV) pip install --python .venv/bin/python --quiet -r requirements.txt
	$(UV) pip install --python .venv/bin/python --quiet --no-deps --no-build-isolation -e .
	$(COMPILE)
	@touch $@

demo: .venv  ## the main job on real handwritten digits: raw files to a served model
	.venv/bin/python -m tf_perceiver.demo

test: .venv  ## all tests, in two processes
	.venv/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

soak: .venv  ## trainings that are killed, starved and poisoned, and must end as if nothing had been
	.venv/bin/python -m pytest -m soak -v -rs -n 2 --dist loadfile --no-loadscope-reorder

lint: .venv  ## style and spelling
	.venv/bin/ruff check .
	.venv/bin/codespell

bench: .venv  ## time, memory and growth of the models, plain and structured
	.venv/bin/python -m benchmarks.speed
	.venv/bin/python -m benchmarks.memory
	.venv/bin/python -m benchmarks.growth

bench-peers: .venv  ## the same models of transformers and perceiver-pytorch beside ours
	.venv/bin/python -m benchmarks.peers

modalities: .venv  ## every modality on real files, raw to a prediction; DATA=DIR has the archives
	.venv/bin/python -m benchmarks.modalities $(if $(DATA),--data=$(DATA))

clean:  ## remove what demo, test and the wheel's build leave behind; .venv stays
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -path ./.venv -prune -o -name __pycache__ -type d -print0 | xargs -0 rm -rf
