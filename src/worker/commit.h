// What every backend does for us at commit: wakes the flows of its database, the manager if the catalog changed, and
// who waits for runs of jobs.
#pragma once
#include "pg/prelude.h"

namespace pgbraid::worker {

void install_commit_hooks(); // in _PG_init

// The running transaction changes what workers there should be; they hear of it when it commits.
void note_catalog_change() noexcept;

// The running transaction gives the database another name, or another place among branches: its workers hear of it.
void note_moved_database(Oid database) noexcept;

// The running transaction changes a job; makes a run that an executor, or who calls pgjob_claim, can begin with;
// changes one that the scheduler looks after; or wants what an executor does for a run to be cancelled.
void note_job_change() noexcept;
void note_ready_command() noexcept;
void note_claimable_run() noexcept;
void note_scheduled_run() noexcept;
void note_timed_run() noexcept;			 // the same, for one that is executed and has a deadline
void leave_timed_runs_untold() noexcept; // this process tells the scheduler of these by itself, of many at a time
void note_offerable_run() noexcept;		 // for the dispatcher: there is one more; one that it has given away has ended
void note_withdrawn_run() noexcept;
void note_interrupt(int64 run);

} // namespace pgbraid::worker
