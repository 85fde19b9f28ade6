// Runs that wait, for their time or for a place, and may begin now.
#pragma once
#include "pg/prelude.h"

extern "C" {
#include "datatype/timestamp.h"
}

#include <cstddef>

namespace pgbraid::job {

// In an open transaction. Gives them as many places as the limits of their jobs, their groups and the database leave.
struct Promotion {
	size_t chosen, made_ready; // the difference: somebody else is at them
};
Promotion promote_waiting(TimestampTz now);

} // namespace pgbraid::job
