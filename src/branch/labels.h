// The security label provider "pgbraid".
#pragma once

namespace pgbraid::branch {

void install_labels(); // in _PG_init, under shared_preload_libraries

} // namespace pgbraid::branch
