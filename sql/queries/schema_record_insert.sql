-- Records one applied schema file.
INSERT INTO outbox_setup.applied (name, checksum) VALUES (%(name)s, %(checksum)s)
