// One per cluster: starts a manager for each database that may have something to do.
#pragma once

namespace pgbraid::worker {

void register_launcher(); // in _PG_init

} // namespace pgbraid::worker
