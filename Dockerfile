# One image for master, workers and the embedded engine; the command decides.
# The same minor version everywhere: the default corpus is Python's own standard library.
FROM python:3.11.13-slim-bookworm

ENV PYTHONUNBUFFERED=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    TOKENSWARM_CACHE=/opt/tokenswarm/cache

WORKDIR /opt/tokenswarm
COPY pyproject.toml constraints.txt README.md ./
COPY workload workload
COPY exporters exporters
COPY locustfiles locustfiles
COPY tokenswarm tokenswarm
RUN pip install -c constraints.txt -e .

# The corpus is counted now, so that a worker sends within seconds of its start. The runs folder
# belongs to the user, and so does a volume that is first mounted there.
RUN useradd --uid 10001 --create-home tokenswarm \
    && python -c "from workload.corpus import load; from workload.tokens import EMBEDDED, load_tokenizer; load(EMBEDDED, lambda: load_tokenizer(EMBEDDED), None)" \
    && mkdir runs \
    && chown -R tokenswarm:tokenswarm cache runs
USER tokenswarm

# master: web UI, workers' port, metrics. engine: 8000. worker: 9646.
EXPOSE 8089 5557 9646 8000
CMD ["locust", "-f", "locustfiles/coding_agents.py"]
