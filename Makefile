# The project's commands. `make demo` and `make test` set up what they need; a second call finds it there.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready

.PHONY: setup demo test test-servers check fix bench

setup: $(READY)

demo: $(READY)
	$(BIN)/diotima demo --out runs/demo

test: $(READY)
	$(BIN)/pytest -q -n auto --maxprocesses 4

# The first time it builds llama-server, which takes minutes; see tests/servers/README.md.
test-servers: $(READY)
	$(BIN)/pytest -q -m servers tests/servers

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

fix: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY)
	@for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python "$$script" || exit 1; done

# Without an NVIDIA driver the CUDA build of torch is gigabytes of nothing: take the CPU build where its index answers.
define INSTALL
set -eu
$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "diotima needs Python 3.11 or newer, \
this is " + sys.version.split()[0] + ": make PYTHON=python3.12 " )'
$(PYTHON) -m venv .venv

install_cpu_torch() {
    wanted=$$(grep '^torch==' constraints.txt)
    index=https://download.pytorch.org/whl/cpu
    $(BIN)/pip install --quiet --no-deps --timeout 10 --retries 0 --index-url $$index "$$wanted" 2>/dev/null ||
        echo "The index of CPU builds does not answer; taking torch from the usual index."
}
if [ "$$(uname)" = Linux ] && ! command -v nvidia-smi >/dev/null; then install_cpu_torch; fi

$(BIN)/pip install --quiet -c constraints.txt -e '.[train,dev]'
touch $(READY)
endef
export INSTALL

$(READY): pyproject.toml constraints.txt
	@echo "Setting up .venv (once; a few minutes) ..."
	@bash -c "$$INSTALL"
