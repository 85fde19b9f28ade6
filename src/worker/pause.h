// Keeps our own workers out of the way of DROP DATABASE, CREATE DATABASE ... TEMPLATE, ALTER DATABASE ... RENAME and
// ... SET TABLESPACE, which need a database without other sessions.
#pragma once

namespace pgbraid::worker {

void install_pause(); // in _PG_init

} // namespace pgbraid::worker
