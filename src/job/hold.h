// The advisory locks that say that the worker of a run lives: those of pg_advisory_lock(class, object), where the class
// is the oid of pgbraid.job_runs and the object the number of the run (its lower 31 bits). They belong to the session,
// so that they are free once it is gone, however it went.
#pragma once
#include "pg/prelude.h"

#include <optional>

namespace pgbraid::job {

// Of an executor, for its session. Advisory locks are for everybody: one that somebody else holds is not waited for,
// and the run is taken for alive as long as he does.
void lock_run(Oid class_id, int64 run);

// The oid of pgbraid.job_runs in this database; invalid where the extension is not installed.
Oid run_class();

} // namespace pgbraid::job
