# mistwatch: `make demo` and `make test` are complete on a machine with Python 3.11 (or later), make and the package registries.
# Debian's packages (`make system`, as root) add the RTSP server that the tests of cameras need.

PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13,$(shell command -v $(name))) python3.11)
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
DATA   := $(or $(MISTWATCH_DATA),$(abspath ../shared/data))

# Two more lanes, by hand before a release: without the tests marked realparts and the browser's, as their subject is Python
# and the libraries.
PYTHON312 ?= python3.12
OLDEST    := .venv-oldest
LANE      := -m 'not realparts' --ignore=tests/pipeline/evaluation/report/test_report_browser.py

# Python keeps what it has compiled, even on a machine whose image forbids it: without, each process of the tests compiles torch
# and ours anew (importing torch and lightning: 20 s of a core in place of 8; collecting the tests: 65 in place of 22).
unexport PYTHONDONTWRITEBYTECODE

# Tests in parallel, a file on one worker, as its fixtures are shared: three for two cores, as each of two was seen to wait for
# half of its time. Those marked waits mostly wait for limits of time, two at a time; those marked alone measure times: they run
# one after another. A crashed worker ends the run: pytest-xdist 3.8 would hand its finished files out again, and then wait for
# ever.
BY_FILE   := --dist loadfile --max-worker-restart 0
PARALLEL  := -n $(or $(WORKERS),3) $(BY_FILE)
WAITING   := -n 2 $(BY_FILE)

.PHONY: help venv weights system deploy-tools test fuzz faults soak test-slow test-images test-oldest test-312 lint demo docs screenshots bench clean

help:  ## this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 14

# torch is 5.2 GB with its CUDA libraries; pip's own progress bars are worth their lines here.
# --no-compile: pip would compile 13,000 modules, a minute of a core; Python compiles those that are imported.
$(STAMP): pyproject.toml
	command -v $(PYTHON) >/dev/null || { echo "mistwatch needs Python 3.11 or later: set PYTHON=..." >&2; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --no-compile --editable '.[train,serve,int8,evaluate,demo,console,oidc,docs,dev]'
	# tritonserver's binary; its metadata asks for numpy < 2, which the binary does not need
	$(BIN)/python -m pip install --no-deps nvidia-pytriton==0.7.0
	touch $@

venv: $(STAMP)  ## everything into .venv (a second run reuses it)

system:  ## Debian's packages for the tests: Chromium, FFmpeg, GStreamer's RTSP server, Java and Maven for Apache Kafka (as root)
	xargs -a debian-packages.txt sh -c 'dpkg -s "$$@" >/dev/null 2>&1 || { apt-get update -qq && apt-get install -y -qq "$$@"; }' --

# The chart's and the rules' own programs, for the tests of deploy/, which are skipped without them. Debian's package is
# unpacked, not installed: it would start a server. The schema of compose files lies in the module of the compose project.
HELM    := helm.sh/helm/v3/cmd/helm@v3.22.0
COMPOSE := github.com/compose-spec/compose-go/v2@v2.17.0
deploy-tools:  ## into .tools: helm (built with Go, some minutes), promtool (Debian's), the schema of compose files
	mkdir -p .tools/bin
	GOBIN=$(CURDIR)/.tools/bin go install $(HELM)
	go mod download -json $(COMPOSE) 2>/dev/null | sed -n 's/.*"Zip": "\(.*\)".*/\1/p' > .tools/compose-zip || true
	$(PYTHON) -c "import sys, zipfile; z = zipfile.ZipFile(open('.tools/compose-zip').read().strip()); \
	  name = next(n for n in z.namelist() if n.endswith('/schema/compose-spec.json')); \
	  open('.tools/compose-spec.json', 'wb').write(z.read(name))"; rm .tools/compose-zip
	cd .tools && apt-get download -qq prometheus && dpkg -x prometheus_*.deb prometheus && \
	  cp prometheus/usr/bin/promtool bin/ && rm -r prometheus prometheus_*.deb

lint: venv  ## ruff, mypy, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

weights: venv  ## the published weights into the user's cache (a second run finds them there)
	$(BIN)/mistwatch weights fetch i3d-kinetics400
	$(BIN)/mistwatch weights fetch efficientnet-lite0
	$(BIN)/mistwatch weights fetch vgg16-convolutions

# $(call run,KIND): the tests of a kind. pytest ends with 5 where PYTEST_ARGS selects none. Beside other tests, torch and its
# like compute on one thread each: with as many threads as cores in each worker, they wait for one another.
# A test that fails runs once more, by itself, and is named whatever comes of it: a few of thousands of tests of real servers
# fail by chance on a machine with neighbours. pytest ends with 1 where tests failed and nothing else did.
define run
	parallel=0; waiting=0; alone=0; export MISTWATCH_DATA=$(DATA); began=$$(date +%s); \
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m '$(1) and not alone and not waits' $(PARALLEL) --cache-clear $(PYTEST_ARGS) || parallel=$$?; \
	after_parallel=$$(date +%s); \
	$(BIN)/python -m pytest -m '$(1) and waits' $(WAITING) $(PYTEST_ARGS) || waiting=$$?; \
	after_waiting=$$(date +%s); \
	$(BIN)/python -m pytest -m '$(1) and alone' $(PYTEST_ARGS) || alone=$$?; \
	echo "== tests in parallel: $$((after_parallel - began)) s; that wait: $$((after_waiting - after_parallel)) s;" \
	  "alone: $$(($$(date +%s) - after_waiting)) s"; \
	again=; for ended in $$parallel $$waiting $$alone; do case "$$ended" in 0 | 5) ;; 1) again=yes ;; *) exit 1 ;; esac; done; \
	case "$$parallel $$waiting $$alone" in "5 5 5") exit 1 ;; esac; \
	[ -z "$$again" ] || { echo "== tests that failed, once more by themselves:"; \
	  $(BIN)/python -m pytest -v --last-failed --last-failed-no-failures none $(PYTEST_ARGS); }
endef

test: venv lint weights  ## everything that CI runs; WORKERS=2 runs as many tests in parallel
	$(call run,not slow)

test-slow: venv weights  ## the tests that take long, which CI leaves out
	$(call run,slow and not faults)

test-images: venv  ## the steps of each Dockerfile in a folder with a clean environment, some minutes; test-slow runs it, too
	$(BIN)/python -m pytest -v -rs tests/deploy/test_images.py $(PYTEST_ARGS)

FUZZ_INPUTS ?= 100000
fuzz: venv  ## documents and answers from outside, mutated: FUZZ_INPUTS of them (100000); make test runs 1000
	MISTWATCH_FUZZ_INPUTS=$(FUZZ_INPUTS) $(BIN)/python -m pytest tests/fuzz -m fuzz -p no:xdist --timeout 3600 $(PYTEST_ARGS)

test-312:  ## Python 3.12, in .venv-3.12: the tests but those marked realparts and the browser's; PYTHON312=... names it
	@$(PYTHON312) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 12))' 2>/dev/null || \
	  { echo "test-312: $(PYTHON312) is not a Python 3.12; install one or set PYTHON312=/path/to/python3.12" >&2; exit 2; }
	$(MAKE) weights VENV=.venv-3.12 PYTHON=$(PYTHON312)
	MISTWATCH_DATA=$(DATA) .venv-3.12/bin/python -m pytest $(LANE) $(PARALLEL) $(PYTEST_ARGS)

# pip cannot resolve to the lowest versions; uv can. Only direct dependencies are held to their bounds (lowest-direct):
# the lowest versions of everything else have never been installed together by anyone.
$(OLDEST)/.installed: pyproject.toml
	test -x $(OLDEST)/bin/python || $(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python -m pip install --quiet 'uv>=0.9'
	$(OLDEST)/bin/uv pip install --python $(OLDEST)/bin/python --resolution lowest-direct \
	  --editable '.[train,serve,int8,evaluate,demo,console,oidc,dev]'
	$(OLDEST)/bin/uv pip install --python $(OLDEST)/bin/python --no-deps nvidia-pytriton==0.7.0
	touch $@

test-oldest: $(OLDEST)/.installed  ## the same tests with the oldest dependencies that pyproject.toml allows, in .venv-oldest
	$(OLDEST)/bin/mistwatch weights fetch i3d-kinetics400
	$(OLDEST)/bin/mistwatch weights fetch efficientnet-lite0
	MISTWATCH_DATA=$(DATA) $(OLDEST)/bin/python -m pytest $(LANE) $(PARALLEL) $(PYTEST_ARGS)

CONSOLE ?= 8080
demo: venv  ## rendered cameras whose truth is known, the whole path; MODEL=runs/NAME/... is yours, CONSOLE= without the console
	$(BIN)/mistwatch demo $(if $(MODEL),--model "$(MODEL)") $(if $(CONSOLE),--console "$(CONSOLE)")

docs: venv  ## the documents' site into site/, with the reference of the code; a broken link or a missing page fails it
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet --conf-dir docs . site
	@echo "open site/index.html"

screenshots: venv  ## the pictures of the console in README and on the site, with Chromium: look at them before you commit them
	$(BIN)/python bench/screenshots.py

bench: venv weights  ## every bench of speed, an hour or more of a quiet machine, into bench/results/performance and docs/PERFORMANCE.md
	MISTWATCH_DATA=$(DATA) $(BIN)/python bench/performance.py --run

# The whole form of tests/faults/; `make test` runs a bounded one. The table goes into docs/RELIABILITY.md where all of it passes.
faults: venv  ## the fault suite: half an hour of cameras, servers and workers that fail, its table into docs/RELIABILITY.md
	MISTWATCH_DATA=$(DATA) $(BIN)/python bench/reliability.py --run $(PYTEST_ARGS)

soak: venv  ## HOURS of cameras that come and go (default 1): memory, descriptors, threads; docs/soak.webp
	$(BIN)/python bench/soak.py --hours $(or $(HOURS),1) $(SOAK_ARGS)

clean:  ## what the commands above left, but not the environments
	rm -rf runs site dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
