-- Whether the role may connect to the database `name`, asked in another one; no row if there is no such database.
SELECT has_database_privilege(oid, 'CONNECT') AND datallowconn FROM pg_database WHERE datname = %(name)s
