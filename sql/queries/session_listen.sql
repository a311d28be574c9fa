-- Listens for the NOTIFY of the trigger that `relay setup --notify` makes.
LISTEN outbox_event
