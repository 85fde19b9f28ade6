// The session's side of an operation.
#pragma once
#include "branch/operations.h"

namespace pgbraid::branch {

// Posts the operation, starts its process, waits until it is done, and returns its result. Throws what it failed with.
// A session that is cancelled meanwhile leaves the operation, which then undoes what it has not committed.
Oid perform(const Request &request);

// Without a session that waits for it. False: there is no room, or no background worker slot.
bool perform_in_background(const Request &request);

} // namespace pgbraid::branch
