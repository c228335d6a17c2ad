# mistwatch: `make demo` and `make test` are complete on a machine with Python 3.11 (or later), make and the package registries.
# Debian's packages (`make system`, as root) add the RTSP server that the tests of cameras need.

PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13,$(shell command -v $(name))) python3.11)
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
DATA   := $(or $(MISTWATCH_DATA),$(abspath ../shared/data))

.PHONY: help venv weights system test lint demo clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 14

# torch is 5.2 GB with its CUDA libraries; pip's own progress bars are worth their lines here.
$(STAMP): pyproject.toml
	command -v $(PYTHON) >/dev/null || { echo "mistwatch needs Python 3.11 or later: set PYTHON=..." >&2; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --editable '.[train,serve,evaluate,demo,dev]'
	# tritonserver's binary; its metadata asks for numpy < 2, which the binary does not need
	$(BIN)/python -m pip install --no-deps nvidia-pytriton==0.7.0
	touch $@

venv: $(STAMP)  ## everything into .venv (a second run reuses it)

system:  ## Debian's packages for the tests: Chromium, FFmpeg and GStreamer's RTSP server (as root)
	xargs -a debian-packages.txt sh -c 'dpkg -s "$$@" >/dev/null 2>&1 || { apt-get update -qq && apt-get install -y -qq "$$@"; }' --

lint: venv  ## ruff, mypy, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

weights: venv  ## the published weights of I3D into the user's cache (a second run finds them there)
	$(BIN)/mistwatch weights fetch i3d-kinetics400

test: venv lint weights  ## everything that CI runs
	MISTWATCH_DATA=$(DATA) $(BIN)/python -m pytest $(PYTEST_ARGS)

demo: venv  ## the whole path on rendered cameras whose truth is known; MODEL=runs/NAME/... for a model of your own
	$(BIN)/mistwatch demo $(if $(MODEL),--model "$(MODEL)")

clean:  ## what the commands above left, but not .venv
	rm -rf runs dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
