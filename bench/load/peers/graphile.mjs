// graphile-worker's jobs: a process. What it does is the word after its name; its arguments are on standard input.
// `prepare` makes its schema and adds jobs that do nothing. `work` runs its worker for those until SIGTERM; `apply`
// runs it for the jobs of events, of which each is applied and noted. A worker that starts makes its schema itself. The
// settings are those of its own performance test (website/docs/performance.md): 24 jobs at once, a local queue of 500,
// and completions in batches.
//
// A worker that is killed leaves its jobs locked: those that it was running, and those in its local queue. Nothing is
// added for these: its documentation says that an operator can unlock them, and that a later worker does after four
// hours (website/docs/error-handling.md).
import { EventEmitter } from "node:events";
import { openSync, readFileSync, writeSync } from "node:fs";
import { makeWorkerUtils, run } from "graphile-worker";

const CONCURRENCY = 24;
const action = process.argv[2];
const { database_url: connectionString, jobs = 0, lines } = JSON.parse(readFileSync(0, "utf8"));

async function prepare() {
  const utils = await makeWorkerUtils({ connectionString });
  await utils.migrate();
  if (jobs > 0) {
    await utils.addJobs(Array.from({ length: jobs }, () => ({ identifier: "bench", payload: {} })));
  }
  await utils.release();
}

async function work(taskList, maxPoolSize, events) {
  const runner = await run({
    taskList,
    events,
    preset: {
      worker: {
        connectionString,
        concurrentJobs: CONCURRENCY,
        maxPoolSize,
        localQueue: { size: 500, refetchDelay: { durationMs: 10 } },
        completeJobBatchDelay: 0,
        failJobBatchDelay: 0,
      },
    },
  });
  await runner.promise;
}

// Since 1970; Date.now() knows whole milliseconds only.
const seconds = () => (performance.timeOrigin + performance.now()) / 1000;

// Returns what the application does with an event: it applies it, unless it is a backlog's, and notes it.
function applying() {
  const statement = process.env.BENCH_APPLY.replaceAll("%(aggregates)s", "$1").replaceAll("%(versions)s", "$2");
  const file = openSync(lines, "a");
  return async ({ event_id, aggregate_id, version, number }, helpers) => {
    const arrived = seconds();
    if (number !== null) {
      await helpers.query(statement, [[aggregate_id], [version]]);
    }
    writeSync(file, `${event_id} ${arrived.toFixed(6)} ${seconds().toFixed(6)}\n`);
  };
}

if (action === "prepare") {
  await prepare();
} else if (action === "work") {
  await work({ bench: () => {} }, CONCURRENCY + 1);
} else {
  // Jobs use connections of the same pool, beside those that listen, fetch and complete: so it needs more than the
  // concurrentJobs + 2 that are advised for jobs that use none (website/docs/config.md).
  const events = new EventEmitter();
  events.once("pool:listen:success", () => console.log("ready"));
  await work({ event: applying() }, CONCURRENCY + 4, events);
}
