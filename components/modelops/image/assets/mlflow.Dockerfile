# The library's server with a model's own requirements, for a model that plain MLflow logged. `mlflow_image` builds it.
ARG BASE_IMAGE=python:3.12-slim

FROM ${BASE_IMAGE}
RUN python3 -m venv --without-pip /opt/venv
ENV PATH=/opt/venv/bin:$PATH \
    HOME=/tmp \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
WORKDIR /app
ARG REQUIREMENTS
ARG SERVER_REQUIREMENTS
# mlflow-skinny loads models as mlflow does, without its server and what that needs. LightGBM wants the system's libgomp,
# which slim bases don't have; scikit-learn brings one.
RUN --mount=type=cache,target=/root/.cache/pip \
    printf '%s\n' "$REQUIREMENTS" | sed -E 's/^mlflow([^-A-Za-z0-9]|$)/mlflow-skinny\1/' >/tmp/requirements.txt \
    && pip --python /opt/venv/bin/python install --quiet --root-user-action=ignore --no-compile \
        -r /tmp/requirements.txt $SERVER_REQUIREMENTS \
    && rm -rf /tmp/* \
    && libgomp=$(find /opt/venv/lib -name 'libgomp-*' | head -n 1) \
    && if [ -n "$libgomp" ]; then ln -s "$libgomp" /opt/venv/lib/libgomp.so.1; fi \
    && { python -m compileall -q -j 2 --invalidation-mode unchecked-hash /opt/venv/lib >/dev/null || true; }
COPY --chmod=755 modelops_runtime modelops_runtime
RUN python -m compileall -q --invalidation-mode unchecked-hash modelops_runtime \
    && python -c "import mlflow.pyfunc, modelops_runtime.serving.lifecycle"
ENV LD_LIBRARY_PATH=/opt/venv/lib \
    OPENBLAS_NUM_THREADS=1 \
    MLFLOW_DISABLE_TELEMETRY=true
USER 65532:65532
EXPOSE 8080
CMD ["python", "-m", "modelops_runtime", "serve"]
