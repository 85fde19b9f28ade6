// The executors of this database, as its scheduler starts and ends them.
#pragma once

namespace pgbraid::job {

// Starts so many that each of `ready` runs, beyond those that are executed, finds one; at least one where `keep_warm`;
// at most pgbraid.job_executors.
void start_executors(int ready, bool keep_warm);

// Asks all of them to leave.
void stop_executors();

} // namespace pgbraid::job
