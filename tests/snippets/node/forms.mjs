// The values that a Node program has for each argument; each call writes one event.
import pg from "pg";

const CALL = "SELECT outbox.publish('order', $1, 7, 'paid', $2, $3, $4, $5, $6)";
const ID = "00000000-0000-0000-0000-00000000002a";
const TOTAL = { total: 120 };
const TRACE = { traceparent: "00-ab" };

const client = new pg.Client({ connectionString: process.env.DATABASE_URL });
await client.connect();
await client.query(CALL, ["a", TOTAL, null, null, null, undefined]);
await client.query(CALL, [42, JSON.stringify(TOTAL), TRACE, ID, "elsewhere", "a.b"]);
await client.query({ name: "prepared", text: CALL, values: [ID, TOTAL, JSON.stringify(TRACE), null, null, "a.b"] });
await client.query("SELECT outbox.publish('order', $1, $2, 'paid', $3)", [42n, "7", TOTAL]);
await client.query("SELECT tasks.submit('t', $1, $2, $3, $4)", [TOTAL, 3, TRACE, null]);
await client.end();
