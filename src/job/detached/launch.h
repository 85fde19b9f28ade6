// Runs a command in a process of its own: one that needs another database, or that can't be in a transaction. The
// process has logged in as the role of the job, and has no way back to another one.
#pragma once
#include "catalog/runs.h"
#include "pg/transaction.h"

namespace pgbraid::job {

enum class Detached { done, no_process };

// Outside of a transaction. What it led to is in `end`, with an SQLSTATE if it failed; `no_process` where no process
// was to be had, so that nothing has happened. An interrupt that cancels the run is passed on; where this process ends,
// the other one is ended too.
Detached run_detached(const catalog::ClaimedRun &run, catalog::RunEnd &end);

} // namespace pgbraid::job
