// The advisory locks that say that who claimed a run lives: those of pg_advisory_lock(class, object), where the class
// is the oid of pgbraid.job_runs and the object the number of the run (its lower 31 bits). They belong to the session,
// so that they are free once it is gone, however it went.
#pragma once
#include "pg/prelude.h"

namespace pgbraid::job {

// The oid of pgbraid.job_runs in this database; invalid where the extension is not installed.
Oid run_class();

} // namespace pgbraid::job
