# Postgres with wal2json, from Debian's packages, for sandbox/servers/containers.py.
FROM debian:trixie-slim
RUN mkdir -p /etc/postgresql-common \
 && echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf \
 && apt-get update \
 && apt-get install -y --no-install-recommends postgresql-17 postgresql-17-wal2json \
 && rm -rf /var/lib/apt/lists/*
COPY postgres-entrypoint /usr/local/bin/
USER postgres
ENV PATH=/usr/lib/postgresql/17/bin:$PATH \
    PGDATA=/var/lib/postgresql/cluster
EXPOSE 5432
# A fast shutdown; SIGTERM would wait until every client disconnects.
STOPSIGNAL SIGINT
ENTRYPOINT ["postgres-entrypoint"]
