-- Begins a batch. Each statement has a snapshot of its own: the second one sees the marks that were committed meanwhile.
BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE
