-- Gives a relay the parked events of its partition that another relay of the outbox has, since it took the place of an earlier one.
UPDATE relay.parked AS p SET relay = %(name)s
WHERE p.relay = ANY (ARRAY(SELECT relay.members(%(name)s))) AND p.relay <> %(name)s
  AND outbox.partition_of(p.aggregate_type, p.aggregate_id, %(partitions)s) = %(partition)s
  AND NOT EXISTS (SELECT FROM relay.parked AS o
                  WHERE o.relay = %(name)s
                    AND (o.outbox, o.tx, o.place, left(o.id, 200)) = (p.outbox, p.tx, p.place, left(p.id, 200)))
