"""Publishing messages to RabbitMQ, with confirms."""
