"""What relay, consumers and writers share: AMQP, SQL, settings, errors, logs and HTTP. It imports none of them."""
