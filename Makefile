# The commands that the README names. uv makes the environment; it is installed with pip where it is missing.
export UV_PYTHON_DOWNLOADS := never
PYTHON ?= python3
UV := $(shell command -v uv 2>/dev/null || echo "$(PYTHON) -m uv")
RUN := $(UV) run --frozen
# Two processors, each of which takes whole modules.
PYTEST := $(RUN) pytest -n 2 --dist loadscope --no-loadscope-reorder

.PHONY: setup demo dev test quick judges faults lint bench package

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

test: lint
	@$(UV) sync --frozen --quiet --inexact --group ibm
	$(PYTEST)

# What is not slow, while one works.
quick: setup
	$(PYTEST) -m "not slow and not judge"

# What takes long, or is judged by software that is heavy to install (Spark, IBM's library), and every fault at every call.
judges: setup
	@$(UV) sync --frozen --quiet --inexact --group spark --group ibm
	$(PYTEST) -m judge
	@$(MAKE) --no-print-directory faults

# Each kind of fault at every call to AWS of each scenario, of which `make test` takes a few of each.
faults: setup
	FAULTS=all $(PYTEST) --dist load tests/faults -m "not judge"

bench: setup
	@$(RUN) python -m tests.benchmarks

package: setup
	@$(RUN) python -m infra.packaging
