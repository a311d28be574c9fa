"""The profile `partitioned` of docker-compose.yml: four relays, four queues by hash, and the order of each aggregate."""
