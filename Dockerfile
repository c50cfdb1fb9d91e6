# The studio in a container, set up by the same `make install` as on any machine.
#
#   docker build -t studio .
#   docker run -p 7860:7860 -v studio:/data -e STUDIO_PASSWORD=choose-one studio
#
# With an NVIDIA GPU add `--gpus all`: on Linux PyTorch's wheel from the package index brings CUDA with it.
FROM python:3.11-slim

RUN apt-get update \
 && apt-get install -y --no-install-recommends make \
 && rm -rf /var/lib/apt/lists/*
RUN useradd --create-home --uid 1000 studio \
 && mkdir /app /data \
 && chown studio:studio /app /data

USER studio
WORKDIR /app
ENV STUDIO_HOME=/data STUDIO_USER=studio PIP_NO_CACHE_DIR=1 PYTHONUNBUFFERED=1
COPY --chown=studio:studio . .
RUN make install

# Runs, models and datasets; a new named volume starts with the starter model in it.
VOLUME /data
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s CMD [".venv/bin/python", "-c", "import http.client; page = http.client.HTTPConnection('127.0.0.1', 7860, timeout=5); page.request('GET', '/'); assert page.getresponse().status < 500"]
# Outside of the loopback a login is demanded: STUDIO_USER and STUDIO_PASSWORD.
CMD ["sh", "-c", "exec .venv/bin/studio serve --host 0.0.0.0 --port 7860 --user \"$STUDIO_USER\""]
