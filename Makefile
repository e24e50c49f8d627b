# Set-up is one file target: a second call installs nothing.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# TensorFlow's CUDA libraries and PyTorch's exclude each other, so on GPUs it has its own.
TENSORFLOW := $(VENV)-tensorflow/.ready
# Where Horovod's wheel is kept; without a folder in the user's cache.
HOROVOD_WHEELS ?=
# Programs that look after requirements.lock, and whom the audit asks: pypi or osv.
TOOLS := $(VENV)-tools/.ready
SERVICE ?= pypi
# What the programs of the set-up say, and what runs each of them.
LOG := $(VENV)/setup.log
STEP := $(BIN)/python scripts/step.py
# The driver's own devices: nvidia-smi need not be on the PATH.
GPU := $(wildcard /dev/nvidiactl /dev/nvidia0 /dev/dxg)

# How long `make soak` runs.
MINUTES ?= 60
# How long `make fuzz` runs.
SECONDS ?= 300

.PHONY: run test lint setup lock audit tensorflow-gpu docs architecture accuracy regret foresight soak fuzz test-gpu \
	gpu-loan gpu-packages installs container-test cluster-test scale mutants
run: setup
	$(BIN)/python -m suite run

# What times real work first, with nothing beside it; the rest two at a time.
test: setup lint
	$(BIN)/python -m pytest -m alone
	$(BIN)/python -m pytest -m "not alone" -n 2 --dist loadgroup --no-loadscope-reorder

lint: setup
	$(BIN)/ruff check .
	$(BIN)/mypy

setup: $(READY) $(if $(GPU),$(TENSORFLOW))

# Each step is a line with its seconds; what the programs say is in $(LOG) and shown where one fails.
# First what has one right file for everybody, each checked by its hash; then torch, whose wheel
# depends on the machine, and what it brings.
$(READY): pyproject.toml requirements.txt requirements.lock scripts/build_horovod.py
	@rm -f $(LOG)
	@$(PYTHON) scripts/step.py "Python environment in $(VENV)" $(LOG) $(PYTHON) -m venv $(VENV)
	@$(STEP) "TensorFlow and packages, checked by their hashes (half a gigabyte)" $(LOG) $(BIN)/python -m pip install --require-hashes --no-deps -r requirements.lock
	@$(STEP) "PyTorch (half a gigabyte)" $(LOG) $(BIN)/python -m pip install -r requirements.txt
	@$(STEP) "This suite" $(LOG) $(BIN)/python -m pip install --no-deps --no-build-isolation -e .
	-@$(STEP) "Horovod, built for these frameworks once (up to five minutes)" $(LOG) $(BIN)/python scripts/build_horovod.py $(HOROVOD_WHEELS)
	@touch $(READY)

# requirements.lock from requirements.txt.
lock: $(TOOLS)
	$(VENV)-tools/bin/python scripts/lock_requirements.py $(VENV)-tools/bin/uv

# Known vulnerabilities of what is locked: 0 none, 1 some, 2 where the advisories did not answer.
audit: $(TOOLS)
	$(VENV)-tools/bin/python scripts/audit.py $(VENV)-tools/bin/pip-audit --vulnerability-service $(SERVICE)

$(TOOLS): requirements-tools.txt
	$(PYTHON) -m venv $(VENV)-tools
	$(VENV)-tools/bin/python -m pip install -q -r requirements-tools.txt
	touch $(TOOLS)

tensorflow-gpu: $(TENSORFLOW)

$(TENSORFLOW): requirements-tensorflow-gpu.txt
	$(PYTHON) -m venv $(VENV)-tensorflow
	$(VENV)-tensorflow/bin/python -m pip install -q -r requirements-tensorflow-gpu.txt
	touch $(TENSORFLOW)

# The README's table from results/sample, and the picture of the page.
docs: setup
	$(BIN)/python -m scripts.refresh_docs

# docs/architecture.svg from the imports.
architecture: setup
	$(BIN)/python -m scripts.draw_architecture

# What the measurements find of planted truths, as tables; about half an hour, on a quiet machine.
accuracy: setup
	$(BIN)/python -m pytest -q tests/real/test_planted.py tests/real/test_link.py
	$(BIN)/python -m tests.accuracy answer
	$(BIN)/python -m tests.accuracy launches
	$(BIN)/python -m tests.reference

# --strategy auto against measuring every way: regret and share of the time, a table; half an hour. QUESTION
# narrows it: QUESTION=pytorch/gpt/tiny
regret: setup
	$(BIN)/python -m tests.accuracy auto $(QUESTION)

# Predictions judged on published tables: a table by source and results/foresight.html.
foresight: setup
	$(BIN)/python -m scripts.foresight

# The smoke preset with random faults, again and again: what is left in the end?
soak: setup
	$(BIN)/python -m suite selftest --soak $(MINUTES)

# What readers and options make of anything at all, led by which code was not reached yet. A folder
# with what atheris found is in the message of an error.
fuzz: setup
	$(BIN)/python -m pip install -q atheris==3.0.0
	$(BIN)/python -m tests.fuzz -max_total_time=$(SECONDS)

# The suite's own time and memory by number of cases, up to ten thousand; some minutes.
scale: setup
	$(BIN)/python -m tests.benchmarks.scale

# How many planted mistakes in suite/analysis the tests notice; half a minute each.
COUNT ?= 30
mutants: setup
	$(BIN)/python -m scripts.mutants $(COUNT)

# What one GPU proves, with the torch of PYTHON if that has CUDA and this set-up's has not.
test-gpu:
	$(PYTHON) -m tests.gpu

# All that one GPU has to show, in at most eight minutes a call; a call goes on where the last one
# ended. LOAN passes options: LOAN="--device cpu", LOAN="--only gpt3-xl".
LOAN ?=
gpu-loan:
	$(PYTHON) -m tests.gpu.loan $(LOAN)

# What that needs on a machine with torch and without a network: at most 64 MiB of wheels.
GPU_PYTHON ?= 3.12
gpu-packages: setup
	rm -rf .gpu-packages
	$(BIN)/python -m pip download -q -d .gpu-packages -r requirements-gpu-loan.txt \
	  --only-binary=:all: --python-version $(GPU_PYTHON) --implementation cp \
	  --platform manylinux_2_28_x86_64 --platform manylinux_2_27_x86_64 \
	  --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64
	$(BIN)/python -m pip download -q -d .gpu-packages --no-deps --no-binary=:all: \
	  --no-build-isolation horovod==0.28.1
	du -sh .gpu-packages

# The suite with some of the frameworks, in environments of their own: the table of
# docs/installing.md. Needs a package index, and minutes for each row.
PYTHONS ?= $(BIN)/python
installs: setup
	$(BIN)/python scripts/install_matrix.py --python $(PYTHONS) --write

# Not part of the tests: needs root, buildah and debootstrap.
container-test:
	scripts/container_test.sh

# Two hosts in network namespaces: needs root, iproute2 and Open MPI.
cluster-test: setup
	$(BIN)/python -m pytest -q tests/real/test_two_hosts.py
