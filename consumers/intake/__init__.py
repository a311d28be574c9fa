"""Deliveries from RabbitMQ."""
