-- Names and checksums of the schema files applied so far.
SELECT name, checksum FROM public.outbox_relay_schema
