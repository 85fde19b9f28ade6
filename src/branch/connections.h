// A connection that is being made finds its database by name before it locks it; a switch of branches in between would
// have it fail. So connecting takes a lock on the name first, which a switch waits for, and which waits for a switch.
#pragma once

namespace pgbraid::branch {

void install_connections(); // a hook for authentication; in _PG_init, under shared_preload_libraries

} // namespace pgbraid::branch
