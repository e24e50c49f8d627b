include scripts/setup.mk
.DEFAULT_GOAL := run
# Programs that look after requirements.lock, and whom the audit asks: pypi or osv.
TOOLS := $(VENV)-tools/.ready
SERVICE ?= pypi

# How long `make soak` runs.
MINUTES ?= 60
# How long `make fuzz` runs.
SECONDS ?= 300

.PHONY: run test test-long lint lock audit docs architecture accuracy ratios regret foresight soak fuzz test-gpu \
	gpu-loan gpu-packages horovod-nccl installs container-test container-hosts cluster-test ray-test slurm-test scale mutants
run: setup
	$(BIN)/python -m suite run

# What decides: a test of every kind. What times real work first, with nothing beside it; the rest
# three at a time on two cores, because many tests wait for processes.
WORKERS ?= 3
SLOWEST := --durations=25 --durations-min=5
test: setup lint
	$(BIN)/python -m pytest -m "alone and not long" $(SLOWEST)
	$(BIN)/python -m pytest -m "not alone and not long" -n $(WORKERS) --dist loadgroup --no-loadscope-reorder $(SLOWEST)

# More of the same kinds, with real frameworks: after changes to adapters, launches or measurement.
test-long: setup
	$(BIN)/python -m pytest -m long $(SLOWEST)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/mypy

# requirements.lock from requirements.txt, and requirements-uv.lock.
lock: $(TOOLS)
	$(VENV)-tools/bin/python scripts/lock_requirements.py $(VENV)-tools/bin/uv

# Known vulnerabilities of what is locked: 0 none, 1 some, 2 where the advisories did not answer.
audit: $(TOOLS)
	$(VENV)-tools/bin/python scripts/audit.py $(VENV)-tools/bin/pip-audit --vulnerability-service $(SERVICE)

$(TOOLS): requirements-tools.txt
	$(PYTHON) -m venv $(VENV)-tools
	$(VENV)-tools/bin/python -m pip install -q -r requirements-tools.txt
	touch $(TOOLS)

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

# Adapters beside plain scripts, a table with intervals: in ten minutes a launch of each of PyTorch's
# 24 cells and more; another call goes on. RATIOS="--column pytorch --minutes 5" takes fewer.
RATIOS ?=
ratios: setup
	$(BIN)/python -m tests.reference.table $(RATIOS)

# --strategy auto against measuring every way: regret and share of the time, a table; half an hour.
# QUESTION=pytorch/gpt/tiny narrows it.
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

# The suite's own time and memory by number of cases, up to ten thousand, and of ranks a case, up to
# a thousand, and how long a browser takes to open the page; some minutes.
scale: setup
	$(BIN)/python -m tests.benchmarks.scale
	$(BIN)/python -m tests.benchmarks.scale --ranks
	$(BIN)/python -m tests.benchmarks.page

# How many planted mistakes the tests of a room notice; some seconds each. ROOM=launch narrows it,
# MUTANTS="--minutes 5" ends a call, and the next one goes on from there.
COUNT ?= 40
SEED ?= 0
MUTANTS ?=
mutants: setup
	$(BIN)/python -m scripts.mutants --count $(COUNT) --seed $(SEED) $(MUTANTS) $(ROOM)

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

# Horovod's GPU code compiled and linked with NCCL, where there is nvcc and no GPU; some minutes.
# NCCL_PYTHON takes another interpreter, such as one whose torch has CUDA: PyTorch's engine needs it.
NCCL_PYTHON ?= $(BIN)/python
horovod-nccl: setup
	$(NCCL_PYTHON) -m scripts.horovod_cmake

# The suite with some of the frameworks, in environments of their own: the table of
# docs/installing.md. Needs a package index, and minutes for each row.
PYTHONS ?= $(BIN)/python
installs: setup
	$(BIN)/python -m scripts.install_matrix --python $(PYTHONS) --write $(INSTALLS)

# Not part of the tests: needs root, buildah and debootstrap.
# What the commands under test print is shown, for their tables.
SHOWN := -q -rsP -m ""
CONTAINERS ?= .build/container
container-test:
	scripts/container_test.sh $(CONTAINERS)

# Two containers of that image are the hosts of one run: by ssh, and as in Compose. Needs what
# cluster-test needs, too.
container-hosts: setup
	scripts/container_test.sh $(CONTAINERS) base build hosts
	SUITE_CONTAINERS=$(CONTAINERS) $(BIN)/python -m pytest $(SHOWN) tests/real/test_containers.py

# Two hosts in network namespaces: needs root, iproute2 and Open MPI.
cluster-test: setup
	$(BIN)/python -m pytest $(SHOWN) tests/real/test_two_hosts.py

# Ray on two such hosts, with an environment of its own, as where Ray is a cluster's.
RAY := $(VENV)-ray
ray-test: setup $(RAY)/.ready
	PATH="$(abspath $(RAY))/bin:$$PATH" $(BIN)/python -m pytest $(SHOWN) tests/real/test_ray.py

$(RAY)/.ready: requirements-ray.txt
	$(PYTHON) -m venv $(RAY)
	$(RAY)/bin/python -m pip install -q -r requirements-ray.txt
	touch $@

# Slurm's controller and node daemons on two such hosts: needs slurmctld, slurmd and slurm-client too.
slurm-test: setup
	$(BIN)/python -m pytest $(SHOWN) tests/real/test_slurm.py
