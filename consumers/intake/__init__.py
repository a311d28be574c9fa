"""From RabbitMQ to deliveries in the loop."""
