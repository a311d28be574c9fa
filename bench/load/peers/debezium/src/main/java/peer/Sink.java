package peer;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.rabbitmq.client.AMQP;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.ConnectionFactory;
import io.debezium.DebeziumException;
import io.debezium.engine.DebeziumEngine;
import io.debezium.engine.RecordChangeEvent;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeoutException;
import org.apache.kafka.connect.source.SourceRecord;

/**
 * Publishes what Debezium reads, as the RabbitMQ sink of Debezium Server does with its defaults ("Debezium Server", RabbitMQ):
 * persistent messages with the record's headers, not mandatory, without a message id; it waits for the confirms of a batch,
 * and only then marks its records as processed. A message that is not confirmed ends the program.
 *
 * <p>Two things differ, since the sink's routing key is one column: the key is {@code <aggregate_type>.<event_type>}, and the
 * members of the column "headers" become headers of their own. Nothing is converted to JSON and back, which Debezium Server
 * does with keys and headers.
 */
final class Sink implements DebeziumEngine.ChangeConsumer<RecordChangeEvent<SourceRecord>>, AutoCloseable {
    private static final int PERSISTENT = 2; // deliveryMode
    private static final long ACK_TIMEOUT = 30_000; // ackTimeout, in milliseconds
    private static final TypeReference<Map<String, Object>> MEMBERS = new TypeReference<>() {};
    private static final String ROW_HEADERS = "headers";

    private final String exchange;
    private final ObjectMapper json = new ObjectMapper();
    private final Connection connection;
    private final Channel channel;

    Sink(String amqpUrl, String exchange) throws Exception {
        var factory = new ConnectionFactory();
        factory.setUri(amqpUrl);
        this.exchange = exchange;
        connection = factory.newConnection();
        channel = connection.createChannel();
        channel.confirmSelect();
    }

    @Override
    public void handleBatch(
            List<RecordChangeEvent<SourceRecord>> events,
            DebeziumEngine.RecordCommitter<RecordChangeEvent<SourceRecord>> committer)
            throws InterruptedException {
        try {
            for (var event : events) {
                publish(event.record());
            }
            channel.waitForConfirmsOrDie(ACK_TIMEOUT);
        } catch (IOException | TimeoutException error) {
            throw new DebeziumException(error);
        }
        for (var event : events) {
            committer.markProcessed(event);
        }
        committer.markBatchFinished();
    }

    @Override
    public void close() throws IOException {
        connection.close();
    }

    private void publish(SourceRecord record) throws IOException {
        var headers = headers(record);
        var properties = new AMQP.BasicProperties.Builder().deliveryMode(PERSISTENT).headers(headers).build();
        var key = record.topic() + "." + headers.get("event_type");
        channel.basicPublish(exchange, key, properties, ((String) record.value()).getBytes(StandardCharsets.UTF_8));
    }

    private Map<String, Object> headers(SourceRecord record) throws JsonProcessingException {
        var made = new HashMap<String, Object>();
        for (var header : record.headers()) {
            if (header.key().equals(ROW_HEADERS)) {
                json.readValue((String) header.value(), MEMBERS).forEach(made::putIfAbsent);
            } else {
                made.put(header.key(), header.value());
            }
        }
        return made;
    }
}
