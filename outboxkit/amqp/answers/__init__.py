"""What RabbitMQ answers, and what to do about a refusal. It asks nothing."""
