-- Sets the status of an order.
INSERT INTO demo.order_view AS o (order_id, status, version) VALUES (%(id)s, %(status)s, %(version)s)
ON CONFLICT (order_id) DO UPDATE SET status = excluded.status, version = excluded.version, changed_at = clock_timestamp()
