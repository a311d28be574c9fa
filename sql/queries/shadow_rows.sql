-- Which events a round of the shadow has, in order. They outlive the transaction, so that none stays open while they are read
-- slowly; the first transaction whose events count is `since`.
DECLARE relay_shadow NO SCROLL CURSOR WITH HOLD FOR
SELECT {columns} FROM ({unseen}) AS row WHERE tx >= %(since)s::xid8
ORDER BY {order} LIMIT %(limit)s
