"""Queues by hash behind the relay's exchange: `relay setup --topology` declares them, `relay check` judges them."""
