-- How many orders have their last version, and how many versions were applied.
SELECT count(*) FILTER (WHERE version = %(last)s), coalesce(sum(version), 0)::bigint FROM demo.order_view
