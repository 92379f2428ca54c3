# syntax=docker/dockerfile:1
#
#   docker build -t naru --build-arg COMMIT="$(git rev-parse HEAD)" .              # gateway, CPU
#   docker build -t naru-gpu --target gpu --build-arg COMMIT="$(git rev-parse HEAD)" .   # with vLLM
#
# Both run as a user of their own, with the root file system read-only: only /var/lib/naru and /tmp
# are written to.

ARG PYTHON_IMAGE=docker.io/library/python:3.12-slim-bookworm

FROM ${PYTHON_IMAGE} AS packages
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_COMPILE=1 PIP_NO_INPUT=1 \
    PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
RUN python3 -m venv /opt/naru
COPY requirements/run.txt requirements/torch.txt requirements/
# The lists are complete: what is not on them is not installed.
RUN /opt/naru/bin/pip install --require-hashes --no-deps -r requirements/run.txt

FROM packages AS build
ARG TORCH_INDEX_URL=https://download.pytorch.org/whl/cpu
RUN version="$(sed -n 's/^torch==//p' requirements/torch.txt)" \
    && /opt/naru/bin/pip install --no-deps --index-url "$TORCH_INDEX_URL" "torch==$version+cpu"
COPY . .
# Nothing is written beside the packages later, so they are compiled now; those that are written for
# other Pythons say so.
RUN /opt/naru/bin/pip install --no-deps --no-build-isolation . \
    && /opt/naru/bin/pip check \
    && cp -r demo /opt/naru/lib/python3*/site-packages/ \
    && /opt/naru/bin/pip uninstall --yes pip setuptools \
    && { python3 -m compileall -qq -j 0 --invalidation-mode unchecked-hash /opt/naru/lib || :; }

FROM packages AS build-gpu
COPY requirements/engine-gpu.txt requirements/
RUN /opt/naru/bin/pip install -r requirements/torch.txt \
    && /opt/naru/bin/pip install --require-hashes --no-deps -r requirements/engine-gpu.txt
COPY . .
RUN /opt/naru/bin/pip install --no-deps --no-build-isolation . \
    && /opt/naru/bin/pip check \
    && cp -r demo /opt/naru/lib/python3*/site-packages/ \
    && /opt/naru/bin/pip uninstall --yes pip \
    && { python3 -m compileall -qq -j 0 --invalidation-mode unchecked-hash /opt/naru/lib || :; }

FROM ${PYTHON_IMAGE} AS base
# tini reaps what ends after its parent has; the image's own pip is a way in that nobody needs.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends tini \
    && rm -rf /var/lib/apt/lists/* \
    && { ! python3 -m pip --version >/dev/null 2>&1 || python3 -m pip uninstall --yes pip; } \
    && groupadd --gid 10001 naru \
    && useradd --uid 10001 --gid 10001 --home-dir /var/lib/naru --shell /usr/sbin/nologin naru \
    && install --directory --owner 10001 --group 10001 --mode 0700 /var/lib/naru
ENV PATH=/opt/naru/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    HOST=0.0.0.0 PORT=8080 NARU__DATA_DIR=/var/lib/naru \
    HOME=/var/lib/naru HF_HOME=/var/lib/naru/huggingface XDG_CACHE_HOME=/tmp/cache
ARG VERSION=0.1.0
ARG COMMIT=unknown
ARG CREATED=
LABEL org.opencontainers.image.title="Naru" \
      org.opencontainers.image.description="One async gateway in front of every language model you run or rent" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${COMMIT}" \
      org.opencontainers.image.created="${CREATED}"
WORKDIR /var/lib/naru
VOLUME ["/var/lib/naru"]
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=180s --retries=3 \
    CMD ["python3", "-c", "import os, urllib.request as u; u.urlopen(f'http://127.0.0.1:{os.environ[\"PORT\"]}/health/live', timeout=4)"]
ENTRYPOINT ["/usr/bin/tini", "--", "naru"]
CMD ["serve"]

FROM base AS gpu
# Triton compiles the launchers of its kernels when a model is loaded: vLLM needs a C compiler.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    VLLM_CACHE_ROOT=/var/lib/naru/vllm TRITON_CACHE_DIR=/var/lib/naru/triton
COPY --from=build-gpu /opt/naru /opt/naru
USER 10001:10001

FROM base AS gateway
COPY --from=build /opt/naru /opt/naru
USER 10001:10001
