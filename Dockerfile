# Any Debian-like base with apt. For GPUs one with the CUDA toolkit, of torch's CUDA version, and
# NCCL's headers: docker build --build-arg BASE=nvidia/cuda:13.0.1-cudnn-devel-ubuntu24.04 .
ARG BASE=debian:bookworm-slim
FROM ${BASE}
# For several hosts by Open MPI: --build-arg PACKAGES="openmpi-bin openssh-server openssh-client"
ARG PACKAGES=""

# Ubuntu's images come with a user of the number 1000.
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      build-essential ca-certificates make python3 python3-dev python3-venv ${PACKAGES} \
 && rm -rf /var/lib/apt/lists/* \
 && (userdel --remove ubuntu 2>/dev/null || true) \
 && useradd --create-home --uid 1000 suite \
 && mkdir -p /opt/suite /results \
 && chown suite:suite /opt/suite /results

USER suite
WORKDIR /opt/suite
COPY --chown=suite:suite . .
# For GPUs: --build-arg TARGETS="setup tensorflow-gpu"
ARG TARGETS=setup
# The same set-up as on any machine; pip's cache and the build folder stay out of the image.
RUN PIP_NO_CACHE_DIR=1 make $TARGETS HOROVOD_WHEELS=.build/horovod \
 && cp .build/horovod/*/build.log /opt/suite/horovod-build.log \
 && rm -rf .build

ENV PATH=/opt/suite/.venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1
VOLUME /results
WORKDIR /
ENTRYPOINT ["python", "-m", "suite"]
CMD ["run", "--out", "/results"]
