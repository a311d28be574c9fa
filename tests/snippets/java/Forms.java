import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.SQLException;
import java.sql.Types;
import java.util.UUID;
import org.postgresql.util.PGobject;

/** The setters that a JDBC program has for each argument; each call writes one event. */
class Forms {
    static final String CALL = "SELECT outbox.publish(?, ?, ?, ?, ?, ?, ?, ?, ?)";
    static final String TOTAL = "{\"total\": 120}";
    static final String TRACE = "{\"traceparent\": \"00-ab\"}";

    public static void main(String[] args) throws Exception {
        try (var connection = DriverManager.getConnection(System.getenv("JDBC_URL") + System.getenv("JDBC_OPTIONS"))) {
            strings(connection);
            numbersAndNullsWithoutType(connection);
            objects(connection);
            procedure(connection);
        }
    }

    static PreparedStatement prepared(Connection connection, String call) throws SQLException {
        var statement = connection.prepareStatement(call);
        statement.setString(1, "order");
        statement.setString(4, "paid");
        return statement;
    }

    static void strings(Connection connection) throws SQLException {
        try (var publish = prepared(connection, CALL)) {
            publish.setString(2, "a");
            publish.setInt(3, 7);
            publish.setString(5, TOTAL);
            publish.setString(6, TRACE);
            publish.setString(7, UUID.randomUUID().toString());
            publish.setString(8, "elsewhere");
            publish.setString(9, "a.b");
            publish.execute();
            for (int optional = 6; optional <= 9; optional++) {
                publish.setNull(optional, Types.VARCHAR);
            }
            publish.execute();
        }
    }

    static void numbersAndNullsWithoutType(Connection connection) throws SQLException {
        try (var publish = prepared(connection, CALL)) {
            publish.setLong(2, 42);
            publish.setLong(3, 7);
            publish.setObject(5, TOTAL, Types.OTHER);
            publish.setNull(6, Types.OTHER);
            publish.setObject(7, null);
            publish.setNull(8, Types.NULL);
            publish.setString(9, null);
            publish.execute();
            publish.setInt(2, 42);
            publish.setString(5, TOTAL);
            publish.execute();
        }
    }

    static PGobject object(String type, String value) throws SQLException {
        var object = new PGobject();
        object.setType(type);
        object.setValue(value);
        return object;
    }

    static void objects(Connection connection) throws SQLException {
        try (var publish = prepared(connection, CALL)) {
            publish.setObject(2, new UUID(0, 42));
            publish.setObject(3, 7L);
            publish.setObject(5, object("json", TOTAL));
            publish.setObject(6, object("jsonb", TRACE));
            publish.setObject(7, UUID.randomUUID());
            publish.setObject(8, "elsewhere");
            publish.setObject(9, null);
            publish.execute();
        }
    }

    static void procedure(Connection connection) throws SQLException {
        try (var publish = connection.prepareCall("{call outbox.publish(?, ?, ?, ?, ?)}")) {
            publish.setString(1, "order");
            publish.setString(2, "a");
            publish.setInt(3, 7);
            publish.setString(4, "paid");
            publish.setString(5, TOTAL);
            publish.execute();
        }
        try (var submit = connection.prepareStatement("SELECT tasks.submit(?, ?, ?, ?, ?)")) {
            submit.setString(1, "t");
            submit.setString(2, TOTAL);
            submit.setLong(3, 3);
            submit.setString(4, TRACE);
            submit.setNull(5, Types.VARCHAR);
            submit.execute();
        }
    }
}
