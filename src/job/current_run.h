// What this executor has in hand, as the registry says it: it lives as long as we do, and who cancels it finds us.
#pragma once
#include "pg/prelude.h"

namespace pgbraid::job {

// Before the commit that makes the run ours. `hold_next`: one that follows the one that is executed.
void hold_run(int64 run);
void hold_next_run(int64 run);

// The run has ended: a cancel from now on is too late for it. The next one, if there is one, takes its place.
void let_go_of_run();

// Between two runs, or where nobody may disturb.
void ignore_cancels();

} // namespace pgbraid::job
