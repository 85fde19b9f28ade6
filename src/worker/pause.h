// Keeps our own workers out of the way of DROP DATABASE, CREATE DATABASE ... TEMPLATE, ALTER DATABASE ... RENAME and
// ... SET TABLESPACE, which need a database without other sessions.
#pragma once
#include "pg/boundary.h"

namespace pgbraid::worker {

void install_pause(); // in _PG_init

// Ends the workers of a database that nobody may connect to any more, and waits for it, a few seconds at most.
void evict(Oid database);

} // namespace pgbraid::worker
