package peer;

import io.debezium.embedded.Connect;
import io.debezium.engine.DebeziumEngine;
import io.debezium.engine.RecordChangeEvent;
import io.debezium.engine.format.ChangeEventFormat;
import java.sql.SQLException;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.connect.source.SourceRecord;

/**
 * Relays the outbox with Debezium until SIGTERM: Debezium's engine and connector, and a sink.
 *
 * <p>It prints "ready" when the slot is read. It ends with 1 when the engine ends by itself, as Debezium Server does.
 */
public final class Relay {
    private static final long LOOK_AGAIN = 20; // milliseconds: nothing tells when a slot begins to be read
    private static final String READ = "SELECT active FROM pg_replication_slots WHERE slot_name = ? AND active";

    private final Given given;
    private final CountDownLatch ended = new CountDownLatch(1);
    private volatile boolean stopping;
    private volatile String reason = "the engine has ended";

    private Relay(Given given) {
        this.given = given;
    }

    /** Reads its arguments as JSON from standard input. */
    public static void main(String[] words) {
        try {
            new Relay(Given.read(System.in)).run();
        } catch (Exception error) {
            fail(error.toString());
        }
    }

    private void run() throws Exception {
        var sink = new Sink(given.amqpUrl(), given.exchange());
        var engine = DebeziumEngine.create(ChangeEventFormat.of(Connect.class))
                .using(given.settings())
                .using(this::note)
                .using(new DebeziumEngine.ConnectorCallback() {
                    @Override
                    public void pollingStarted() {
                        var looking = new Thread(Relay.this::announce, "announce");
                        looking.setDaemon(true);
                        looking.start();
                    }
                })
                .notifying(sink)
                .build();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> stop(engine, sink), "stop"));
        try {
            engine.run();
        } finally {
            ended.countDown();
        }
        if (!stopping) {
            fail(reason);
        }
    }

    private void note(boolean success, String message, Throwable error) {
        if (error != null) {
            reason = message + ": " + error;
        }
    }

    private void announce() {
        try (var connection = given.connect(); var statement = connection.prepareStatement(READ)) {
            statement.setString(1, given.slot());
            while (true) {
                try (var rows = statement.executeQuery()) {
                    if (rows.next()) {
                        break;
                    }
                }
                Thread.sleep(LOOK_AGAIN);
            }
            System.out.println("ready");
        } catch (SQLException error) {
            fail(error.toString());
        } catch (InterruptedException error) {
            Thread.currentThread().interrupt();
        }
    }

    /** Ends the engine, which flushes its offsets, and after it the sink. */
    private void stop(DebeziumEngine<RecordChangeEvent<SourceRecord>> engine, Sink sink) {
        stopping = true;
        try {
            engine.close();
            ended.await();
            sink.close();
        } catch (Exception error) {
            fail(error.toString());
        }
        Runtime.getRuntime().halt(0);
    }

    private static void fail(String reason) {
        System.err.println(reason.lines().findFirst().orElse("no reason"));
        Runtime.getRuntime().halt(1);
    }
}
