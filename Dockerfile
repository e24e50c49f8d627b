# CPU:  docker build -t split-suite .
# GPUs: docker build -t split-suite --build-arg TARGETS="packages tensorflow-gpu" \
#         --build-arg BASE=nvidia/cuda:13.0.1-cudnn-devel-ubuntu24.04 \
#         --build-arg RUNTIME=nvidia/cuda:13.0.1-runtime-ubuntu24.04 .
#
# BASE is where packages are built: any Debian-like base with apt; for GPUs one with the CUDA toolkit,
# of torch's CUDA version, and NCCL's headers. RUNTIME is what the image is made from: the same
# distribution, and for GPUs without the toolkit, for which the frameworks bring libraries of their own.
ARG BASE=debian:bookworm-slim
ARG RUNTIME=${BASE}

FROM ${BASE} AS packages
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      build-essential ca-certificates make python3 python3-dev python3-venv
WORKDIR /opt/suite
# Only what decides which packages are installed and how Horovod is built: no other edit repeats it.
COPY requirements.txt requirements.lock requirements-uv.lock requirements-tensorflow-gpu.txt ./
COPY scripts/setup.mk scripts/step.py scripts/install.py scripts/build_horovod.py scripts/
COPY suite/contract/packages.py suite/contract/
COPY adapters/pytorch/build.py adapters/pytorch/
COPY adapters/tensorflow/build.py adapters/tensorflow/
ARG TARGETS=packages
# A folder that holds wheels already may be lent to the build; caches stay out of the image, and
# bytecode is made for everything, because no run can keep any.
ARG HOROVOD_WHEELS=/tmp/horovod
RUN PIP_NO_CACHE_DIR=1 UV_COMPILE_BYTECODE=1 make -f scripts/setup.mk ${TARGETS} HOROVOD_WHEELS=${HOROVOD_WHEELS} \
 && cat ${HOROVOD_WHEELS}/*/build.log > horovod-build.log
# What only builds and tests need is half of it again. Bytecode stays: a user who may not write it
# would wait for it at the start of every rank.
RUN .venv/bin/python -m pip uninstall --quiet --yes uv cmake playwright ruff mypy \
 && cd .venv/lib/python3*/site-packages \
 && rm -rf tensorflow/include torch/test \
 && find . -type d -name tests -prune -exec rm -rf {} + \
 && find horovod -name "*.so" -exec strip --strip-unneeded {} +

FROM ${RUNTIME}
# --mode compiled needs a compiler at run time: torch.compile writes C++ for CPUs, and for GPUs Triton
# compiles its launchers against Python's headers. COMPILER="" leaves it out, and such rows are then
# unsupported.
ARG COMPILER="g++ python3-dev"
# Ubuntu's images come with a user of the number 1000.
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      ca-certificates python3 ${COMPILER} \
 && apt-get clean && rm -rf /var/lib/apt/lists/* \
 && (userdel --remove ubuntu 2>/dev/null || true) \
 && useradd --create-home --uid 1000 suite \
 && install -d -m 1777 /results && chmod 1777 /home/suite
COPY --from=packages /opt/suite /opt/suite
COPY . /opt/suite
# The source is root's, so that no run changes it; compiled once, because a run cannot keep bytecode.
RUN cd /opt/suite \
 && .venv/bin/python -m pip install --quiet --no-cache-dir --no-deps --no-build-isolation -e . \
 && .venv/bin/python -m compileall -q suite adapters

# A caller's own number (--user) has no entry among the users; libraries ask for a name and a home.
ENV PATH=/opt/suite/.venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 USER=suite HOME=/home/suite
USER suite
VOLUME /results
WORKDIR /
# A check would compute beside what is being measured: while the container runs one, that is health.
HEALTHCHECK --interval=1m --timeout=1m --retries=2 \
  CMD grep -qzxE "run|link|ab|selftest" /proc/1/cmdline || python -m suite doctor
ENTRYPOINT ["python", "-m", "suite"]
CMD ["run", "--out", "/results"]
