# kubectl, whose kustomize renders docker/kubernetes/.
FROM debian:trixie-slim
RUN apt-get update \
 && apt-get install --yes --no-install-recommends kubernetes-client \
 && rm -rf /var/lib/apt/lists/*
ENTRYPOINT ["kubectl"]
