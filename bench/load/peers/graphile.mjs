// graphile-worker's jobs that do nothing: a process, with its arguments on standard input.
// `prepare` makes its schema and adds jobs; `work` runs its worker until SIGTERM, in the settings of its own performance
// test (website/docs/performance.md): a local queue, and completions in batches.
import { readFileSync } from "node:fs";
import { makeWorkerUtils, run } from "graphile-worker";

const { action, database_url: connectionString, jobs, concurrency } = JSON.parse(readFileSync(0, "utf8"));

if (action === "prepare") {
  const utils = await makeWorkerUtils({ connectionString });
  await utils.migrate();
  await utils.addJobs(Array.from({ length: jobs }, () => ({ identifier: "bench", payload: {} })));
  await utils.release();
} else {
  const runner = await run({
    taskList: { bench: () => {} },
    preset: {
      worker: {
        connectionString,
        concurrentJobs: concurrency,
        maxPoolSize: concurrency + 1,
        localQueue: { size: 500, refetchDelay: { durationMs: 10 } },
        completeJobBatchDelay: 0,
        failJobBatchDelay: 0,
      },
    },
  });
  await runner.promise;
}
