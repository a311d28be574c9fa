# Stands for Prometheus' own image where that cannot be had: the same program, from Debian's package.
FROM debian:trixie-slim
RUN apt-get update \
 && apt-get install --yes --no-install-recommends prometheus \
 && rm -rf /var/lib/apt/lists/* \
 && mkdir --mode=777 /prometheus
USER 65534:65534
ENTRYPOINT ["prometheus"]
CMD ["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"]
