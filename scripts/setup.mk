# Set-up, apart from the Makefile's other targets, so that an image keeps what is installed here
# while they change. Each environment is one file target: a second call installs nothing.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PACKAGES := $(VENV)/.packages
# TensorFlow's CUDA libraries and PyTorch's exclude each other, so on GPUs it has its own.
TENSORFLOW := $(VENV)-tensorflow/.ready
# Where Horovod's wheel is kept; without a folder in the user's cache.
HOROVOD_WHEELS ?=
# What the programs of the set-up say, and what runs each of them.
LOG := $(VENV)/setup.log
STEP := $(BIN)/python scripts/step.py
INSTALL := $(BIN)/python scripts/install.py
# The driver's own devices: nvidia-smi need not be on the PATH.
GPU := $(wildcard /dev/nvidiactl /dev/nvidia0 /dev/dxg)

.PHONY: setup packages tensorflow-gpu
setup: $(READY) $(if $(GPU),$(TENSORFLOW))

# Without the suite itself, which an image adds last.
packages: $(PACKAGES)

# Each step is a line with its seconds; what the programs say is in $(LOG) and shown where one fails.
# First uv, then by uv what has one right file for everybody, each checked by its hash; then torch,
# whose wheel depends on the machine, and what it brings.
$(PACKAGES): requirements.txt requirements.lock requirements-uv.lock scripts/build_horovod.py
	@rm -f $(LOG)
	@$(PYTHON) scripts/step.py "Python environment in $(VENV)" $(LOG) $(PYTHON) -m venv $(VENV)
	@$(STEP) --instead "not to be had here, pip installs the rest, which takes longer" \
	  "uv, which installs the rest" $(LOG) $(BIN)/python -m pip install --require-hashes --no-deps -r requirements-uv.lock
	@$(STEP) --usual 25 "TensorFlow and packages, checked by their hashes (half a gigabyte)" $(LOG) $(INSTALL) --require-hashes --no-deps -r requirements.lock
	@$(STEP) --usual 10 "PyTorch (half a gigabyte)" $(LOG) $(INSTALL) -r requirements.txt
	@PYTHONPATH=. $(STEP) --usual 120 "Horovod, built for these frameworks once (two minutes or more)" $(LOG) $(BIN)/python scripts/build_horovod.py $(HOROVOD_WHEELS) \
	  || echo "The set-up goes on without Horovod. To try again: PYTHONPATH=. $(BIN)/python scripts/build_horovod.py"
	@touch $(PACKAGES)

$(READY): $(PACKAGES) pyproject.toml
	@$(STEP) "This suite" $(LOG) $(INSTALL) --no-deps --no-build-isolation -e .
	@$(STEP) --usual 15 "First look at the frameworks" $(LOG) $(BIN)/python -m scripts.first_look \
	  || echo "The set-up goes on: rows of what cannot be imported will say so"
	@touch $(READY)

tensorflow-gpu: $(TENSORFLOW)

$(TENSORFLOW): requirements-tensorflow-gpu.txt
	$(PYTHON) -m venv $(VENV)-tensorflow
	$(VENV)-tensorflow/bin/python -m pip install -q -r requirements-tensorflow-gpu.txt
	touch $(TENSORFLOW)
