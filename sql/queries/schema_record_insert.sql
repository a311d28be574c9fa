-- Records one applied schema file.
INSERT INTO public.outbox_relay_schema (name, checksum) VALUES (%(name)s, %(checksum)s)
