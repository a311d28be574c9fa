"""Where messages go: RabbitMQ, with confirms."""
