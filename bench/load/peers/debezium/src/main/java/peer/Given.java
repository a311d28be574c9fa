package peer;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.InputStream;
import java.net.URI;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.SQLException;
import java.util.Properties;

/** What the program is told on standard input, and the settings of Debezium that follow from it. It opens nothing by itself. */
record Given(URI database, String amqpUrl, String exchange, String slot, Path directory) {

    static Given read(InputStream input) throws IOException {
        var json = new ObjectMapper().readTree(input);
        return new Given(
                URI.create(json.required("database_url").textValue()),
                json.required("amqp_url").textValue(),
                json.required("exchange").textValue(),
                json.required("slot").textValue(),
                Path.of(json.required("directory").textValue()));
    }

    /** The settings of engine, connector and transform. What is not named has Debezium's default. */
    Properties settings() {
        var made = new Properties();
        engine(made);
        connector(made);
        outbox(made);
        return made;
    }

    /** A connection for looking at the slot. */
    Connection connect() throws SQLException {
        var url = "jdbc:postgresql://" + database.getHost() + ":" + port() + database.getRawPath();
        var account = new Properties();
        account.setProperty("user", account(0));
        account.setProperty("password", account(1));
        return DriverManager.getConnection(url, account);
    }

    private void engine(Properties made) {
        made.setProperty("name", slot);
        made.setProperty("offset.storage", "org.apache.kafka.connect.storage.FileOffsetBackingStore");
        made.setProperty("offset.storage.file.filename", directory.resolve("offsets.dat").toString());
        // As in "Debezium Server" (operations/debezium-server) and its application.properties.example: after each batch.
        // The engine's own default, a minute, would repeat up to a minute of events after a crash.
        made.setProperty("offset.flush.interval.ms", "0");
    }

    private void connector(Properties made) {
        made.setProperty("connector.class", "io.debezium.connector.postgresql.PostgresConnector");
        made.setProperty("database.hostname", database.getHost());
        made.setProperty("database.port", String.valueOf(port()));
        made.setProperty("database.dbname", database.getPath().substring(1));
        made.setProperty("database.user", account(0));
        made.setProperty("database.password", account(1));
        made.setProperty("plugin.name", "pgoutput"); // "Debezium connector for PostgreSQL": needs no installation
        made.setProperty("slot.name", slot);
        made.setProperty("publication.name", slot);
        made.setProperty("publication.autocreate.mode", "filtered");
        made.setProperty("publish.via.partition.root", "true"); // outbox.event is partitioned
        made.setProperty("topic.prefix", "peer");
        made.setProperty("table.include.list", "outbox.event");
        made.setProperty("snapshot.mode", "no_data"); // an outbox is read from the slot on
        // "Debezium connector for PostgreSQL", poll.interval.ms: how long it waits for a batch to be full before it processes
        // it. With the default, 500, each event of a small load would wait half a second. A full batch, 2048, waits for nothing.
        made.setProperty("poll.interval.ms", "10");
    }

    /** "Outbox Event Router" (transformations/outbox-event-router): its settings for a table whose columns have other names. */
    private static void outbox(Properties made) {
        made.setProperty("transforms", "outbox");
        made.setProperty("transforms.outbox.type", "io.debezium.transforms.outbox.EventRouter");
        made.setProperty("transforms.outbox.table.field.event.id", "id");
        made.setProperty("transforms.outbox.table.field.event.key", "aggregate_id");
        made.setProperty("transforms.outbox.table.field.event.payload", "payload");
        made.setProperty("transforms.outbox.route.by.field", "aggregate_type");
        made.setProperty("transforms.outbox.route.topic.replacement", "${routedByValue}");
        made.setProperty(
                "transforms.outbox.table.fields.additional.placement",
                "aggregate_type:header,aggregate_id:header,aggregate_version:header,event_type:header,headers:header");
    }

    private int port() {
        return database.getPort() < 0 ? 5432 : database.getPort();
    }

    private String account(int part) {
        var found = database.getUserInfo() == null ? new String[0] : database.getUserInfo().split(":", 2);
        return part < found.length ? found[part] : "";
    }
}
