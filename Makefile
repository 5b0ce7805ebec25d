# Two commands on a fresh machine: `make book` and `make test`. Each makes .venv and installs into it.

PYTHON ?= python3
VENV := .venv
ifeq ($(OS),Windows_NT)
BIN := $(VENV)/Scripts
else
BIN := $(VENV)/bin
endif
PY := $(BIN)/python
INSTALLED := $(VENV)/installed
SITE := _build/html
BUILT := $(SITE)/book/index.html
RECOGNISER := _build/recogniser/small_cnn.safetensors
TRANSFORMER := _build/recogniser/transformer.safetensors
BOOK_SOURCES := _config.yml _toc.yml $(shell find book mnist_lab benchmarks/results notebooks \
	-type f -not -name '*.pyc' -not -path '*/.*' -not -name 'ch*.md' 2>/dev/null)

# Threads that wait actively starve each other where two processes share the cores.
export OMP_WAIT_POLICY ?= PASSIVE
# Two processes with a thread each are quicker than one with two: the arrays here are small.
ONE_THREAD := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1

.DEFAULT_GOAL := help
.PHONY: help book test lint unit slow fuzz chapters pages lab refresh text bench gpu colab student anki editions address clean

help: ## show what there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1|/' \
		| column -t -s '|' 2>/dev/null || grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST)

$(INSTALLED): pyproject.toml constraints.txt tools/install.py mnist_lab/__init__.py
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'mnist-lab needs Python 3.11 or newer; name one with PYTHON=...')"
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PY) -m tools.install
	@touch $@

book: $(BUILT) ## build the site into _build/html
	@echo "The book is in $(CURDIR)/$(SITE)/index.html"

# The networks that the pages read with: the pad's, and the transformer that shows its attention.
# They are trained anew only when what they come from has changed: MNIST, and the rooms that their
# scripts import from.
RECOGNISER_SOURCES := $(wildcard mnist_lab/data/files/*.xz $(addprefix mnist_lab/, \
	reasons.py files.py folders.py extras.py data/*.py models/*.py training/*.py few_bits.py export.py \
	finetuning/masked.py lessons/widgets/digit_pictures.py))

$(RECOGNISER): book/recogniser.py $(RECOGNISER_SOURCES) | $(INSTALLED)
	$(PY) -m book.recogniser $@

$(TRANSFORMER): book/transformer.py $(RECOGNISER_SOURCES) | $(INSTALLED)
	$(PY) -m book.transformer $@

$(BUILT): $(INSTALLED) $(BOOK_SOURCES) $(RECOGNISER) $(TRANSFORMER)
	rm -rf $(SITE)/editions # they were of the book as it was
	$(BIN)/jupyter-book build . -W -n --keep-going --all
	@touch $@

test: lint unit slow chapters pages ## lint, types, all tests, every chapter, the built pages

lint: $(INSTALLED) ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

unit: $(INSTALLED) ## the quick tests, on two cores
	$(ONE_THREAD) $(PY) -m pytest tests -m "not site and not slow and not processes" -n 2 --dist loadfile

slow: $(INSTALLED) ## the tests that take long or start processes, one after the other
	$(ONE_THREAD) $(PY) -m pytest tests -m "not site and (slow or processes)"

fuzz: $(INSTALLED) ## ten minutes of damaged and hostile inputs that nobody has tried yet
	$(ONE_THREAD) $(PY) -m tests.fuzzing --minutes 10

chapters: $(INSTALLED) ## every chapter through strict nbval, against the built wheel
	$(PY) -m tools.check_chapters

pages: $(BUILT) ## the built pages in a real browser
	$(PY) -m pytest tests -m site

colab: $(INSTALLED) ## chapters 2, 5 and 10 with Colab's own versions: before a release, minutes and 6 GB
	$(PY) -m tools.check_colab

lab: $(INSTALLED) ## open the chapters in JupyterLab
	$(BIN)/jupyter lab notebooks

text: $(INSTALLED) ## write the chapters as text, to be edited
	$(PY) -m tools.notebooks text

refresh: $(INSTALLED) ## fold edited text back, execute the chapters, store their outputs
	$(PY) -m tools.notebooks refresh

student: $(INSTALLED) ## the chapters without their solutions, in _build/student
	$(PY) -m tools.notebooks student

editions: $(BUILT) ## PDF, EPUB, offline site and notebooks, into the site and its download menus
	$(PY) -m tools.editions
	$(PY) -m pytest tests/book/test_editions.py -m site

# How torch's threads wait where nobody says anything: how the rivals' authors measured.
SPINNING := GOMP_SPINCOUNT=300000
bench: $(INSTALLED) ## measure side by side, and record
	$(PY) -m benchmarks.batching
	$(SPINNING) $(PY) -m benchmarks.numpy_layers
	$(SPINNING) $(PY) -m benchmarks.speed
	$(SPINNING) $(PY) -m benchmarks.step
	$(SPINNING) $(PY) -m benchmarks.trials
	$(PY) -m benchmarks.distributed

# The proof that all of it works on a GPU, and the records that chapter 6 shows beside those of the
# processor. It looks at the test set, as the ledger then says. To see what it does without a GPU:
# make gpu DEVICE=cpu MORE='--results /tmp/tried'
DEVICE ?= cuda
gpu: $(INSTALLED) ## on a machine with a GPU: its tests, all chapters, the benchmarks of chapter 6
	$(PY) -c "from mnist_lab.training import choose_device; choose_device('$(DEVICE)')"
	$(PY) -m pytest tests/test_devices.py tests/training/test_no_float64.py
	$(PY) -m tools.check_chapters
	$(PY) -m benchmarks.speed --device $(DEVICE) --seeds 3 $(MORE)
	$(PY) -m benchmarks.step --device $(DEVICE) $(MORE)
	$(PY) -m benchmarks.presets --device $(DEVICE) --seeds 1 --only fast standard $(MORE)

anki: $(INSTALLED) ## quiz questions and glossary as cards, in _build/editions
	$(PY) -m tools.anki

address: $(INSTALLED) ## make address URL=https://github.com/you/mnist-lab sets the publishing address
	$(PY) -m tools.address $(URL)

clean: ## remove what was built (not .venv, nor what you trained in runs)
	rm -rf _build dist build .pytest_cache .ruff_cache .mypy_cache .hypothesis
