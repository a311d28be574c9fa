-- Makes the database `:database` with the roles of roles.sql. The entrypoint runs it once, by psql, as the superuser.
--
-- The passwords come from the secrets owner_password, relay_password, consumer_password, application_password,
-- service_password and operator_password.
\set owner `cat /run/secrets/owner_password`
\set relay `cat /run/secrets/relay_password`
\set consumer `cat /run/secrets/consumer_password`
\set application `cat /run/secrets/application_password`
\set service `cat /run/secrets/service_password`
\set operator `cat /run/secrets/operator_password`

CREATE DATABASE :"database";
REVOKE ALL ON DATABASE :"database" FROM PUBLIC;
\connect :"database"
\ir roles.sql
ALTER ROLE outbox_owner PASSWORD :'owner';
-- For the four relays of the profile `partitioned`: up to nine sessions each, and a command beside them.
ALTER ROLE outbox_relay PASSWORD :'relay' CONNECTION LIMIT 50;
ALTER ROLE outbox_consumer PASSWORD :'consumer';
ALTER ROLE outbox_service PASSWORD :'service';
-- For the locking demo: it may claim the demo's tasks, and no others.
GRANT outbox_demo TO outbox_service;
-- The application writes tasks and events; tables of its own are its owner's business.
CREATE ROLE application LOGIN PASSWORD :'application' IN ROLE outbox_writer;
-- A person's login: this is the only one that redrives and discards.
CREATE ROLE operator LOGIN PASSWORD :'operator' IN ROLE outbox_operator;
GRANT CONNECT ON DATABASE :"database" TO outbox_owner, outbox_relay, outbox_poller, outbox_consumer, outbox_service, application,
    operator;
