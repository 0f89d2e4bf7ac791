# The Plumbline image: the API, the command lines and their libraries, without models (a volume holds them).
#
#   docker build -t plumbline:local .
#
# Build arguments
#   PIP_EXTRA_INDEX_URL  a further package index; point it at PyTorch's CPU wheel index to keep the CUDA
#                        libraries of the default torch wheel (several GB) out of the image
#   PIP_INDEX_URL        a mirror that replaces the default package index
#   EXTRAS               optional parts, separated by spaces, e.g. "ocr parquet"; none by default
#   ACCELERATOR          cpu (default) or cuda; cuda also needs the next two
#   BASE_BUILD           for cuda: a CUDA *devel* image on Debian or Ubuntu whose python3 is 3.11 or newer
#   BASE_RUNTIME         for cuda: the *runtime* image of the same CUDA and distribution release
#   CUDA_ARCHITECTURES   for cuda: e.g. "90" builds for one GPU generation instead of all of them
#
# No BuildKit feature is used, so the classic builder and other engines can build it too.
ARG BASE_BUILD=python:3.11-slim-bookworm
ARG BASE_RUNTIME=python:3.11-slim-bookworm

# ---- compilers and an empty virtual environment -----------------------------------------------------------------
FROM ${BASE_BUILD} AS toolchain
ARG ACCELERATOR=cpu
RUN case "$ACCELERATOR" in \
      cpu) ;; \
      cuda) command -v nvcc >/dev/null || [ -x /usr/local/cuda/bin/nvcc ] || { \
              echo "ACCELERATOR=cuda needs the CUDA compiler: pass a CUDA devel image as --build-arg BASE_BUILD" \
                   "and the matching runtime image as --build-arg BASE_RUNTIME." >&2; exit 2; } ;; \
      *) echo "ACCELERATOR must be 'cpu' or 'cuda', not '$ACCELERATOR'." >&2; exit 2 ;; \
    esac
RUN apt-get update \
    && python="$(python3 -c 'import ensurepip, venv' 2>/dev/null || echo python3 python3-venv)" \
    && apt-get install -y --no-install-recommends build-essential cmake ninja-build $python \
    && rm -rf /var/lib/apt/lists/* \
    && python3 -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")' \
    && python3 -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1
ARG PIP_INDEX_URL=
ARG PIP_EXTRA_INDEX_URL=

# ---- what is pinned -------------------------------------------------------------------------------------------
# Later stages copy these extracts instead of the files themselves: a change of a linter setting in
# pyproject.toml, or of some other pin, then leaves the slow layers below in the cache.
FROM toolchain AS pins
ARG EXTRAS=
COPY pyproject.toml constraints.txt /src/
RUN mkdir /pins \
    && cp /src/constraints.txt /pins/ \
    && grep -i '^llama[-_]cpp[-_]python==' /src/constraints.txt >/pins/llama.txt \
    && python -c 'import sys, tomllib; project = tomllib.load(open("/src/pyproject.toml", "rb"))["project"]; \
extras = [name for extra in sys.argv[1:] for name in project["optional-dependencies"][extra]]; \
print(*project["dependencies"], *extras, sep="\n")' $EXTRAS >/pins/requirements.txt

# ---- llama.cpp, for any CPU -----------------------------------------------------------------------------------
# GGML_NATIVE=OFF alone would fix one old instruction set for everybody. With all variants built as loadable
# modules each process picks the best one its CPU can run, from the x86-64 baseline up to AVX-512 with bfloat16; see
# rag/inference/binding.py. The one with AMX is faulty (docs/decisions/0033) and left out. The modules must lie beside
# libllama, hence the install directories; unversioned names keep the wheel from holding each library three times, for a
# wheel stores links as copies. Other processors get their baseline: this compiler (GCC 12) does not know the newest ARM
# variants.
FROM toolchain AS llama
ARG ACCELERATOR=cpu
ARG CUDA_ARCHITECTURES=
COPY --from=pins /pins/llama.txt /pins/
RUN CMAKE_ARGS="-DGGML_NATIVE=OFF -DLLAVA_BUILD=OFF -DCMAKE_PLATFORM_NO_VERSIONED_SONAME=ON \
      -DCMAKE_INSTALL_BINDIR=llama_cpp/lib -DCMAKE_INSTALL_LIBDIR=llama_cpp/lib \
      -DCMAKE_INSTALL_INCLUDEDIR=llama_cpp/include" \
    && if [ "$(uname -m)" = x86_64 ]; then \
         CMAKE_ARGS="$CMAKE_ARGS -DGGML_BACKEND_DL=ON -DGGML_CPU_ALL_VARIANTS=ON"; \
       fi \
    && if [ "$ACCELERATOR" = cuda ]; then \
         CMAKE_ARGS="$CMAKE_ARGS -DGGML_CUDA=ON ${CUDA_ARCHITECTURES:+-DCMAKE_CUDA_ARCHITECTURES=$CUDA_ARCHITECTURES}"; \
         PATH="$PATH:/usr/local/cuda/bin"; \
       fi \
    && export CMAKE_ARGS PATH \
    && pip wheel -v --no-deps --no-binary llama-cpp-python --wheel-dir /wheels -r /pins/llama.txt

# ---- third-party packages -------------------------------------------------------------------------------------
FROM toolchain AS dependencies
COPY --from=pins /pins/constraints.txt /pins/requirements.txt /pins/
COPY --from=llama /wheels /wheels
RUN pip install -c /pins/constraints.txt -r /pins/requirements.txt /wheels/*.whl \
    && cd /opt/venv/lib/python3*/site-packages \
    && rm -rf torch/include torch/test llama_cpp/include llama_cpp/lib/cmake llama_cpp/lib/pkgconfig \
       llama_cpp/lib/libllama-common.so llama_cpp/lib/libggml-cpu-sapphirerapids.so

# ---- Plumbline itself -----------------------------------------------------------------------------------------
FROM toolchain AS project
COPY . /src
RUN pip wheel --no-deps --wheel-dir /wheels /src

# ---- the image ------------------------------------------------------------------------------------------------
FROM ${BASE_RUNTIME} AS runtime
RUN apt-get update \
    && python="$(python3 -c 'import ssl' 2>/dev/null || echo python3)" \
    && certificates="$([ -s /etc/ssl/certs/ca-certificates.crt ] || echo ca-certificates)" \
    && apt-get install -y --no-install-recommends libgomp1 $python $certificates \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 plumbline \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin plumbline \
    && install -d -o 10001 -g 10001 /data /models
COPY --from=dependencies /opt/venv /opt/venv
COPY --from=project /wheels /tmp/wheels
RUN /opt/venv/bin/pip install --no-cache-dir --no-deps --no-index /tmp/wheels/*.whl && rm -r /tmp/wheels

# RAG_HOST: inside a container only 0.0.0.0 can be published; compose.yaml publishes it on the loopback address, and
# RAG_ALLOWED_HOSTS keeps web pages from reaching it there under a name of their own (DNS rebinding).
# HOME is /tmp, the one place besides the volumes that stays writable under a read-only root. It lies in memory, and
# SQLITE_TMPDIR keeps copies as large as the full-text index out of it; SQLite's files there have no names.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    HOME=/tmp \
    RAG_HOME=/data \
    RAG_MODELS_DIR=/models \
    RAG_HOST=0.0.0.0 \
    RAG_ALLOWED_HOSTS='["localhost"]' \
    RAG_PORT=8000 \
    SQLITE_TMPDIR=/data
USER 10001:10001
VOLUME ["/data", "/models"]
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.build_opener(u.ProxyHandler({})).open(f'http://127.0.0.1:{os.environ[\"RAG_PORT\"]}/health', timeout=4)"]
CMD ["rag", "serve"]
