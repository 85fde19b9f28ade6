// Runs that wait, for their time or for a place, and may begin now.
#pragma once
#include "pg/prelude.h"

extern "C" {
#include "datatype/timestamp.h"
}

namespace pgbraid::job {

// In an open transaction. Gives them as many places as the limits of their jobs, their groups and the database leave.
void promote_waiting(TimestampTz now);

} // namespace pgbraid::job
