"""Queues behind the relay's exchange that share its events: `relay setup` declares them, `relay check` judges them."""
