-- Ends a question that would take long, in this transaction only.
SET LOCAL statement_timeout = '10s'
