# Any image with Python 3.11 or newer and its venv module serves as the base, in the builder and at run time alike. Tests
# and benchmarks run on 3.11; for 3.12 and newer the lock has another numpy.
ARG BASE_IMAGE=python:3.11-slim

FROM ${BASE_IMAGE} AS build
# pip reads it from the environment; hashes are checked wherever files come from.
ARG PIP_INDEX_URL
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /src
COPY requirements/runtime.txt requirements/dev.txt requirements/
# The build backend's pins are taken from the development lock, so that every file fetched here is checked by hash.
RUN python3 -m venv /opt/build \
    && awk '/^[a-z]/ { keep = /^(hatchling|packaging|pathspec|pluggy|tomlkit|trove-classifiers)==/ } keep' requirements/dev.txt > /opt/build.txt \
    && /opt/build/bin/pip install --require-hashes --only-binary :all: -r /opt/build.txt
RUN python3 -m venv /opt/supernode \
    && /opt/supernode/bin/pip install --require-hashes --only-binary :all: -r requirements/runtime.txt
COPY pyproject.toml README.md LICENSE ./
COPY operator operator
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /opt/supernode/bin/pip install --no-deps /wheels/*.whl \
    && /opt/supernode/bin/python -m compileall -q /opt/supernode/lib \
    && /opt/supernode/bin/pip uninstall --yes setuptools pip

FROM ${BASE_IMAGE}
LABEL org.opencontainers.image.title="supernode-operator" \
      org.opencontainers.image.description="Gives AI jobs topology-contiguous cards on supernodes" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/supernode /opt/supernode
COPY LICENSE /licenses/LICENSE
# LOGNAME: kopf asks for the user's name, and a number without an entry in the user table has none.
ENV PATH=/opt/supernode/bin:$PATH \
    LOGNAME=supernode \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
# A number, so that Kubernetes can check runAsNonRoot; any other number does as well.
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["supernode-operator"]
