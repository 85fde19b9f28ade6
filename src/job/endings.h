// Ends runs whose time is up or whose worker is gone. One that can't be ended, because somebody has it or what its end
// leads to is locked, holds up none of the others.
#pragma once
#include "job/decider.h"

namespace pgbraid::job {

// Outside of a transaction.
Trouble end_overdue(TimestampTz now);
Trouble end_without_worker();

} // namespace pgbraid::job
