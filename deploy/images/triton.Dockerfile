# Triton with the Python backend and a detector, on processors (OpenVINO). Torch exports the detector while the image is
# built, and is not in it. Build from the root of the repository:
#   docker build -f deploy/images/triton.Dockerfile -t mistwatch-triton --build-arg DETECTOR=fights .

FROM python:3.11.14-slim-bookworm AS wheel
WORKDIR /build
RUN python -m pip install --no-cache-dir build==1.3.0 hatchling==1.27.0
COPY pyproject.toml README.md ./
COPY operators ./operators
COPY pipeline ./pipeline
COPY models ./models
COPY deploy ./deploy
RUN python -m build --wheel --no-isolation --outdir dist .

FROM python:3.11.14-slim-bookworm AS detectors
ARG DETECTOR=courtyard-motion
COPY --from=wheel /build/dist /build/dist
# hadolint ignore=DL3013
RUN for wheel in /build/dist/*.whl; do python -m pip install --no-cache-dir "${wheel}[serve]"; done
RUN mistwatch export --model "$DETECTOR" --engine openvino --out /opt/models

FROM python:3.11.14-slim-bookworm AS packages
COPY --from=wheel /build/dist /build/dist
RUN python -m venv /opt/mistwatch
# hadolint ignore=DL3013
RUN for wheel in /build/dist/*.whl; do /opt/mistwatch/bin/python -m pip install --no-cache-dir \
    "${wheel}" openvino==2026.4.1 opencv-python-headless==5.0.0.93; done
# The server's binary; its metadata asks for numpy < 2, which the binary does not need.
RUN /opt/mistwatch/bin/python -m pip install --no-cache-dir --no-deps nvidia-pytriton==0.7.0
RUN /opt/mistwatch/bin/python -m pip uninstall --yes pip

FROM python:3.11.14-slim-bookworm
COPY --from=packages /opt/mistwatch /opt/mistwatch
# A named volume over it that is empty takes these models; further ones come from `mistwatch export --out`.
COPY --from=detectors --chown=10001:10001 /opt/models /opt/models
ENV PATH=/opt/mistwatch/bin:/usr/local/bin:/usr/bin:/bin \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /tmp
EXPOSE 8000 8001 8002
HEALTHCHECK --interval=15s --timeout=5s --start-period=120s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/v2/health/ready', timeout=3)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["mistwatch"]
# Triton has no authentication: only the network of the site may reach it.
CMD ["serve", "--repository", "/opt/models", "--host", "0.0.0.0"]
