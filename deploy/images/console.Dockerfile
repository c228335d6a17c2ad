# The console: the pages of a site. No torch. Build from the root of the repository:
#   docker build -f deploy/images/console.Dockerfile -t mistwatch-console .

FROM python:3.11.14-slim-bookworm AS packages
WORKDIR /build
RUN python -m pip install --no-cache-dir build==1.3.0 hatchling==1.27.0
COPY pyproject.toml README.md ./
COPY operators ./operators
COPY pipeline ./pipeline
COPY models ./models
COPY deploy ./deploy
RUN python -m build --wheel --no-isolation --outdir dist .
RUN python -m venv /opt/mistwatch
RUN for wheel in dist/*.whl; do /opt/mistwatch/bin/python -m pip install --no-cache-dir "${wheel}[console,s3]"; done
# What a running console does not need; a package manager least of all.
RUN /opt/mistwatch/bin/python -m pip uninstall --yes pip

FROM python:3.11.14-slim-bookworm
COPY --from=packages /opt/mistwatch /opt/mistwatch
# A named volume that is empty takes the owner of the folder that it covers.
RUN mkdir -p /var/lib/mistwatch && chown 10001:10001 /var/lib/mistwatch
ENV PATH=/opt/mistwatch/bin:/usr/local/bin:/usr/bin:/bin \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /var/lib/mistwatch
EXPOSE 8080
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8080/healthz', timeout=3)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["mistwatch"]
CMD ["console", "--config", "/etc/mistwatch/site.yaml", "--host", "0.0.0.0", "--port", "8080"]
