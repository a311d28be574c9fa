// pg-transactional-outbox as a relay: a process, with its arguments on standard input, and its mode as its only word.
// It runs until SIGTERM. Settings that are not named here are the package's defaults.
//
// `segments`: the replication listener, with a mutex for each segment, which is an aggregate: the fastest of its strategies
//     that keep the order of an aggregate.
// `in-turn`: the replication listener with its default strategy, one mutex for all messages.
// `polling`: the polling listener.
//
// The handler does what that of the package's own RabbitMQ example does by Rascal: publish persistent and mandatory, wait
// for the confirm, log what is returned and take it as published, connect again when the broker is away, and wait for that.
// It uses amqplib without Rascal, whose pool of channels has five messages in flight.
import { readFileSync } from "node:fs";
import amqp from "amqplib";
import pg from "pg";
import {
  DatabaseSetup,
  createReplicationMutexConcurrencyController,
  createReplicationSegmentMutexConcurrencyController,
  initializePollingMessageListener,
  initializeReplicationMessageListener,
} from "pg-transactional-outbox";

const CONNECTIONS = 20; // each message that is published holds one, with a transaction
const STRATEGIES = {
  segments: createReplicationSegmentMutexConcurrencyController,
  "in-turn": createReplicationMutexConcurrencyController,
};
const TABLE = { outboxOrInbox: "outbox", schema: "peer", table: "outbox", nextMessagesName: "next_outbox_messages" };
const RECOVERY = { initialDelay: 200, maxDelay: 5000 }; // of amqplib's README

const mode = process.argv[2];
const { database_url: connectionString, amqp_url: amqpUrl, exchange, slot } = JSON.parse(readFileSync(0, "utf8"));

// What the package's setup makes, without its roles: the listener has the one that the harness has.
async function setUp() {
  const client = new pg.Client({ connectionString });
  await client.connect();
  const { rows } = await client.query("SELECT to_regclass($1) AS found", [`${TABLE.schema}.${TABLE.table}`]);
  if (rows[0].found === null) {
    await client.query(DatabaseSetup.dropAndCreateTable(TABLE));
    if (mode === "polling") {
      await client.query(DatabaseSetup.createPollingFunction(TABLE));
      await client.query(DatabaseSetup.setupPollingIndexes(TABLE));
    } else {
      await client.query(`CREATE PUBLICATION ${slot} FOR TABLE ${TABLE.schema}.${TABLE.table} WITH (publish = 'insert')`);
      await client.query("SELECT pg_create_logical_replication_slot($1, 'pgoutput')", [slot]);
    }
  }
  await client.end();
}

// Returns how a message is published, and what closes the connection.
async function publisher() {
  const connection = await amqp.connect(amqpUrl, { recovery: RECOVERY });
  let channel;
  const renew = () => {
    channel = open();
    channel.catch((error) => log("channel", error)); // the connection is lost again, and its event renews it again
  };
  const open = async () => {
    const opened = await connection.createConfirmChannel();
    opened.on("return", ({ properties }) => log("published, and not routed", properties.messageId));
    opened.on("error", (error) => {
      log("channel", error);
      renew();
    });
    return opened;
  };
  connection.on("error", (error) => log("connection", error));
  connection.on("disconnect", renew);
  renew();

  const publish = async ({ id, aggregateType, aggregateId, messageType, payload, metadata }) => {
    const current = await channel;
    const headers = { ...metadata, aggregate_type: aggregateType, aggregate_id: aggregateId };
    const options = { persistent: true, mandatory: true, messageId: id, contentType: "application/json", headers };
    const body = Buffer.from(JSON.stringify(payload));
    await new Promise((resolve, reject) => {
      const confirmed = (error) => (error ? reject(error) : resolve());
      current.publish(exchange, `${aggregateType}.${messageType}`, body, options, confirmed);
    });
  };
  return [publish, () => connection.close()];
}

function listen(handle) {
  const config = {
    outboxOrInbox: "outbox",
    dbListenerConfig: { connectionString },
    dbHandlerConfig: { connectionString, max: CONNECTIONS },
    settings: {
      dbSchema: TABLE.schema,
      dbTable: TABLE.table,
      enableMaxAttemptsProtection: false, // as the documentation has it for an outbox; and this one too
      enablePoisonousMessageProtection: false,
    },
  };
  if (mode === "polling") {
    Object.assign(config.settings, {
      nextMessagesFunctionSchema: TABLE.schema,
      nextMessagesFunctionName: TABLE.nextMessagesName,
      nextMessagesBatchSize: CONNECTIONS,
      nextMessagesPollingIntervalInMs: 250, // of its documentation's example
    });
    return initializePollingMessageListener(config, { handle }, logger)[0];
  }
  Object.assign(config.settings, { dbPublication: slot, dbReplicationSlot: slot });
  const concurrencyStrategy = STRATEGIES[mode]();
  return initializeReplicationMessageListener(config, { handle }, logger, { concurrencyStrategy })[0];
}

// What the listener logs when it reads for the first time.
const READS = /listener started$|^Found /;
let ready = false;

function watch(...parts) {
  if (!ready && parts.some((part) => typeof part === "string" && READS.test(part))) {
    ready = true;
    process.stdout.write("ready\n");
  }
}

function log(...parts) {
  process.stderr.write(`${parts.map((part) => part?.message ?? part).join(": ")}\n`);
}

const logger = { fatal: log, error: log, warn: log, info: log, debug: watch, trace: watch, silent() {}, level: "info" };

process.on("unhandledRejection", (error) => {
  log("unhandled", error);
  process.exit(1);
});
await setUp();
const [handle, close] = await publisher();
const shutdown = listen(handle);
process.once("SIGTERM", async () => {
  await shutdown(); // waits for the messages that are being published
  await close();
  process.exit(0);
});
