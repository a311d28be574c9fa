-- Gives a relay what is stored of those whose place it takes: what was confirmed and parked, positions of the past, and replays. Of
-- an event that two of them have parked, one row goes; rather one that waits than one that was redriven or discarded.
WITH confirmed AS (
    UPDATE relay.confirmed SET relay = %(name)s WHERE relay = ANY (%(names)s::text[])
), parked AS (
    UPDATE relay.parked AS p SET relay = %(name)s
    WHERE p.relay = ANY (%(names)s::text[]) AND p.relay <> %(name)s
      AND NOT EXISTS (SELECT FROM relay.parked AS o
                      WHERE (o.outbox, o.tx, o.place, left(o.id, 200)) = (p.outbox, p.tx, p.place, left(p.id, 200))
                        AND (o.relay = %(name)s
                             OR o.relay = ANY (%(names)s::text[])
                                AND (coalesce(o.redriven_at, o.discarded_at) IS NOT NULL, o.relay)
                                  < (coalesce(p.redriven_at, p.discarded_at) IS NOT NULL, p.relay)))
), past AS (
    UPDATE relay.checkpoint_history AS h SET relay = %(name)s
    WHERE h.relay = ANY (%(names)s::text[]) AND h.relay <> %(name)s
      AND NOT EXISTS (SELECT FROM relay.checkpoint_history AS o
                      WHERE o.at = h.at AND (o.relay = %(name)s OR o.relay = ANY (%(names)s::text[]) AND o.relay < h.relay))
)
UPDATE relay.replay SET relay = %(name)s WHERE relay = ANY (%(names)s::text[])
