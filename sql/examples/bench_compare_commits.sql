-- When each transaction of a load was committed.
SELECT number, at FROM bench.committed WHERE load = %(load)s
