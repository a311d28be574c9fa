"""A RabbitMQ cluster loses some of its nodes."""
