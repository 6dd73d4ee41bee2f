FROM python:3.11-slim-bookworm AS build
COPY requirements/service.lock /tmp/service.lock
RUN python -m venv /opt/venv && /opt/venv/bin/pip install --no-cache-dir --require-hashes -r /tmp/service.lock

FROM python:3.11-slim-bookworm
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 STRONGROOM_DATA_DIR=/data
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin strongroom \
 && install --directory --owner=strongroom --group=strongroom --mode=0700 /data
COPY --from=build /opt/venv /opt/venv
WORKDIR /opt/strongroom
COPY strongroom strongroom
COPY config config
COPY models models
COPY storage storage
COPY tasks tasks
COPY workers workers
# -P: a folder that somebody works in must not lend its own packages of these names.
RUN printf '#!/bin/sh\nPYTHONPATH=/opt/strongroom exec python -P -m workers "$@"\n' > /usr/local/bin/strongroom \
 && chmod 0755 /usr/local/bin/strongroom
USER strongroom
VOLUME /data
STOPSIGNAL SIGTERM
# Alone, the image is the whole service with its own broker; docker-compose.yml runs one part in each container.
HEALTHCHECK --interval=15s --timeout=10s --start-period=60s CMD ["strongroom", "status"]
CMD ["strongroom", "up"]
