"""The profile `partitioned` of docker-compose.yml: four relays, four queues by hash, the order of each aggregate."""
