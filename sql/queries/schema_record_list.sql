-- The checksums of the schema files applied so far, by name.
SELECT coalesce(jsonb_object_agg(name, checksum), '{}') FROM outbox_setup.applied
