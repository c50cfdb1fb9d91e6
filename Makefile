# The studio's every-day commands; `make help` lists them. Works with GNU make 3.81 (macOS) and any POSIX shell.
# pip follows your own configuration (pip.conf, PIP_* variables): mirrors, proxies and wheel folders just work.

PYTHON ?=
HOST ?= 127.0.0.1
PORT ?= 7860

SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip
INSTALLED := $(VENV)/.installed
DEVELOPED := $(VENV)/.developed

.PHONY: help install studio starter dev browser test check lint format clean
.DEFAULT_GOAL := help

help: ## Show this list.
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1 \2/p' Makefile | awk '{ name = $$2; $$1 = $$2 = ""; printf "  make %-9s%s\n", name, $$0 }'

install: $(INSTALLED) starter ## Make .venv with the studio command, and prepare the starter model.

studio: install ## Do all the set-up and serve the page at http://127.0.0.1:7860 (HOST=, PORT=).
	@exec $(BIN)/studio serve --host $(HOST) --port $(PORT)

starter: $(INSTALLED) ## Prepare the starter model (once; in STUDIO_HOME, default ~/.studio).
	@test -f "$${STUDIO_HOME:-$$HOME/.studio}/models/starter/studio-model.json" || { \
	  echo "==> Preparing the starter model: 93 MB to download, then about half a minute to convert it, once."; \
	  $(BIN)/studio models get starter; }

dev: $(DEVELOPED) ## Add what the tests and checks need to .venv.

test: dev starter ## Do all the set-up and run the tests.
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

check: lint ## Run every check: format, lint, types, tests.
	@$(MAKE) test

lint: dev ## Run the checks that need no tests: format, lint, types.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: dev ## Format the code and mend what the linter can.
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean: ## Remove .venv, builds and caches; runs and models in STUDIO_HOME stay.
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

browser: ## Install Chromium for the browser tests, if there is none.
	@if command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null; then exit 0; fi; \
	$(AS_ROOT); \
	if ! command -v apt-get >/dev/null; then $(MAKE) dev && exec $(BIN)/python -m playwright install chromium; fi; \
	if [ "$$as_root" = no ]; then echo "Chromium is missing. Install it with: sudo apt-get install chromium" >&2; exit 1; fi; \
	echo "==> Installing Chromium for the browser tests (about 20 seconds)."; \
	$$as_root apt-get update -qq && $$as_root apt-get install -y -qq --no-install-recommends chromium >/dev/null

# Sets $as_root to how a command is run as root without asking: nothing, `sudo -n` or `no`.
AS_ROOT = if [ "$$(id -u)" = 0 ]; then as_root=; elif sudo -n true 2>/dev/null; then as_root="sudo -n"; else as_root=no; fi

# Sets $python to PYTHON, or else to the first Python of 3.10 or later.
FIND_PYTHON = python=; for candidate in $(or $(PYTHON),python3 python3.13 python3.12 python3.11 python3.10 python); do \
	    if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 10))' >/dev/null 2>&1; then python=$$candidate; break; fi; \
	  done; \
	  if [ -z "$$python" ]; then \
	    echo "The studio needs Python 3.10 or later, and $(or $(PYTHON),python3) is missing or older:" \
	      "install it, or name one with: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11" >&2; exit 1; \
	  fi

# PyTorch stopped making wheels for Intel Macs; a Python that runs translated on Apple silicon counts as one.
REFUSE_INTEL_MAC = if ! "$$python" -c 'import platform, sys; sys.exit((sys.platform, platform.machine()) == ("darwin", "x86_64"))'; then \
	    echo "$$python is built for Intel Macs, for which there is no current PyTorch:" \
	      "use a Python for Apple silicon (arm64), or the Dockerfile." >&2; exit 1; \
	  fi

# Debian and Ubuntu ship Python without what makes virtual environments.
FIND_VENV = if ! "$$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then \
	    package=$$("$$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])'); \
	    $(AS_ROOT); \
	    if ! command -v apt-get >/dev/null; then \
	      echo "$$python cannot make virtual environments: install its venv and ensurepip modules." >&2; exit 1; \
	    elif [ "$$as_root" = no ]; then \
	      echo "$$python cannot make virtual environments yet. Run: sudo apt-get install $$package" >&2; exit 1; \
	    fi; \
	    echo "==> Installing $$package (about 20 seconds)."; \
	    { $$as_root apt-get update -qq && $$as_root apt-get install -y -qq "$$package" >/dev/null; } || exit 1; \
	  fi

$(BIN)/python:
	@$(FIND_PYTHON); $(REFUSE_INTEL_MAC); $(FIND_VENV); \
	  echo "==> Making $(VENV) with $$("$$python" --version) (a few seconds)."; \
	  "$$python" -m venv $(VENV) && $(PIP) install --quiet --disable-pip-version-check "pip>=23.2"

$(INSTALLED): pyproject.toml constraints.txt | $(BIN)/python
	@echo "==> Installing the studio into $(VENV): 2 to 6 minutes, most of it PyTorch (with CUDA 2.7 GB)."
	@$(PIP) install --disable-pip-version-check -c constraints.txt -e ".[serve]"
	@touch $@

$(DEVELOPED): pyproject.toml constraints.txt | $(INSTALLED)
	@echo "==> Installing what the tests and checks need (about a minute)."
	@$(PIP) install --disable-pip-version-check -c constraints.txt -e ".[dev,logs,benchmarks]"
	@touch $(INSTALLED) $@
