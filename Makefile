# The book's commands. `make` alone lists them. Everything is installed into .venv, nothing elsewhere.

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed
PYTEST := $(BIN)/python -m pytest
NBVAL := --nbval --nbval-current-env --nbval-cell-timeout 600
# On Linux without an NVIDIA GPU, torch comes from PyTorch's CPU index, where that can be reached: it is a tenth of the size.
TORCH_INDEX := $(shell [ "$$(uname)" = Linux ] && ! command -v nvidia-smi >/dev/null && \
	echo "--extra-index-url https://download.pytorch.org/whl/cpu --retries 0 --timeout 5")

.PHONY: help book test verify check matrix lint notebooks address layout tutor records ladder neural parts drift memory real scaling schematics staircase film models bench clean

help:  ## list these commands
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /|/' | awk -F'|' '{printf "  make %-10s %s\n", $$1, $$2}'

book: $(INSTALLED)  ## build the book into _build/html
	@$(BIN)/jupyter-book build . -n -W --keep-going -q
	@test -f _build/html/index.html
	@echo "The book is built. Open this file in a browser: $(CURDIR)/_build/html/index.html"

test: lint  ## run all tests: lint, types, package, command line, every notebook, the book
	$(PYTEST) $(NBVAL) tests notebooks

verify: $(INSTALLED)  ## run every notebook again, compare its outputs with those stored, say how much that was
	$(PYTEST) $(NBVAL) notebooks
	@$(BIN)/python book/tools/receipts.py

check: lint  ## lint, types and unit tests only, in under three minutes
	$(PYTEST) tests --ignore tests/test_book.py

matrix: $(INSTALLED)  ## run the unit tests with Python 3.11 to 3.13 and with the lowest versions allowed, print a table
	@$(BIN)/python tests/matrix.py $(TORCH_INDEX)

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

notebooks: $(INSTALLED)  ## run notebooks in place and normalise them (NAME=00 for one)
	$(BIN)/python book/tools/notebooks.py $(NAME)

address: $(INSTALLED)  ## write the address of the github.com remote into badges and set-up cells; nothing is run
	@$(BIN)/python book/tools/notebooks.py --address

layout: $(INSTALLED)  ## draw which module imports which, and list the modules, on the page about the code
	@$(BIN)/python book/tools/layout.py

tutor: $(INSTALLED)  ## write the map of chapters and checks into TUTOR.md
	@$(BIN)/python book/tools/tutor.py

records: $(INSTALLED)  ## remake the recorded runs that chapters read (NAME=tales for one)
	$(BIN)/python book/tools/records.py $(NAME)

ladder: $(INSTALLED)  ## run the recipes of chapter 14 anew (NAME="squared ReLU" for one)
	$(BIN)/python book/tools/ladder.py $(if $(NAME),"$(NAME)")

neural: $(INSTALLED)  ## train the small networks of chapter 05 anew
	$(BIN)/python book/tools/neural.py

staircase: $(INSTALLED)  ## train each step of the growing model anew
	$(BIN)/python book/tools/staircase.py

parts: $(INSTALLED)  ## measure each part of today's models on the growing model anew
	$(BIN)/python book/tools/parts.py

drift: $(INSTALLED)  ## measure anew how rounding grows in a run, in one process and in two
	$(BIN)/python book/tools/drift.py

memory: $(INSTALLED)  ## measure what training takes, beside what is predicted, anew
	$(BIN)/python book/tools/memory.py

real: $(INSTALLED)  ## measure the real model, and what the book's own say beside it, anew
	$(BIN)/python book/tools/real.py

scaling: $(INSTALLED)  ## go on with the study of size and text: about an hour for each on one core (NAME=books for one)
	$(BIN)/python book/tools/scaling.py $(NAME)

schematics: $(INSTALLED)  ## draw the schematics of the chapters, print their alt texts (NAME=attention for one)
	@cd book/tools && "$(CURDIR)/$(BIN)/python" -m schematics $(NAME)

film: $(INSTALLED)  ## make the film of README and index from the record of its run
	$(BIN)/python book/tools/film.py

models: $(INSTALLED)  ## train a model that ships with the book anew (NAME=tales-char, ...)
	$(BIN)/python book/tools/models.py $(NAME)

bench: $(INSTALLED)  ## measure this machine beside others' programs: a table and a figure in _build/bench
	$(BIN)/python tests/benchmarks/bench.py

clean:  ## remove the built book and the environment
	rm -rf _build .venv

$(INSTALLED): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed: name one with make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "Python's venv module is missing: on Debian and Ubuntu, apt install python3-venv"; exit 1; }
	$(PYTHON) -m venv .venv
	@echo "Installing torch, then the pinned requirements: a few minutes, once."
	$(BIN)/pip install --quiet $$(grep '^torch==' requirements.txt) $(TORCH_INDEX) || \
		$(BIN)/pip install --quiet $$(grep '^torch==' requirements.txt)
	$(BIN)/pip install --quiet -r requirements.txt
	$(BIN)/pip install --quiet --no-deps --editable .
	@touch $@
