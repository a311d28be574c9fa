-- Writes one event of an order.
SELECT outbox.publish('order', %(order)s, %(version)s, 'changed', '{}')
