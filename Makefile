# The commands that the README names. uv makes the environment; it is installed with pip where it is missing.
export UV_PYTHON_DOWNLOADS := never
PYTHON ?= python3
UV := $(shell command -v uv 2>/dev/null || echo "$(PYTHON) -m uv")
RUN := $(UV) run --frozen

.PHONY: setup demo dev test quick judges lint bench package

setup:
	@command -v uv >/dev/null 2>&1 || $(PYTHON) -m uv --version >/dev/null 2>&1 || $(PYTHON) -m pip install --quiet uv
	@$(UV) sync --frozen --quiet --inexact

demo: setup
	@$(RUN) python -m infra.local.demo

dev: setup
	@$(RUN) python -m infra.local.dev

lint: setup
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy
	$(RUN) lint-imports

# Spark, in which a test reads the lake, is large: nothing but the tests installs it.
test: lint
	@$(UV) sync --frozen --quiet --group spark --group ibm
	$(RUN) pytest -n 2 --dist loadscope --no-loadscope-reorder

# What is not slow, while one works.
quick: setup
	$(RUN) pytest -n 2 --dist loadscope --no-loadscope-reorder -m "not slow and not judge"

# What is slow, or judged by software that is heavy to install.
judges: setup
	@$(UV) sync --frozen --quiet --group spark --group ibm
	$(RUN) pytest -n 2 --dist loadscope --no-loadscope-reorder -m judge

bench: setup
	@$(RUN) python -m tests.benchmarks

package: setup
	@$(RUN) python -m infra.packaging
