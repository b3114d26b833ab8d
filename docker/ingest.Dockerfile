# Producer, consumer and the deploy command: no Airflow, no dbt. Build from the project's root:
#   docker build -f docker/ingest.Dockerfile -t crypto-lakehouse-ingest .
FROM python:3.12-slim

ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1

COPY requirements/ingest.txt /tmp/ingest.txt
RUN pip install --no-cache-dir --require-hashes --only-binary :all: -r /tmp/ingest.txt \
    && rm /tmp/ingest.txt

WORKDIR /app
COPY include/__init__.py include/settings.py include/reasons.py include/meanings.py include/catalogue.py include/
COPY include/assets.py include/msk_iam.py include/
COPY include/dbt/seeds/assets.csv include/dbt/seeds/
COPY include/landing include/landing
COPY include/ingest include/ingest
COPY include/aws include/aws

RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin lakehouse
USER 10001

# The consumer's port. A producer sets HEALTH_PORT to its own port (PRODUCER_HTTP_PORT).
ENV HEALTH_PORT=9308
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(f\"http://127.0.0.1:{os.environ['HEALTH_PORT']}/healthz/live\", timeout=3)"]

# There is no shell between, so TERM reaches the program, which lands its buffered records before it ends.
ENTRYPOINT ["python", "-m", "include.ingest"]
CMD ["consume"]
