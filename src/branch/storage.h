// The files of a database: made, and filled from another one whose contents stand still.
#pragma once
#include "branch/relations.h"
#include "pg/boundary.h"

#include <functional>

namespace pgbraid::branch {

// The directory of a new database in its default tablespace, with the map of the catalogs that have no fixed file.
// WAL-logged.
void make_database_directory(Oid source, Oid copy, Oid tablespace);

int64 size_of(const Stored &relation); // bytes, of all forks

// Copies the relation to the database, fork by fork, page by page through shared buffers, since a page read from the
// file can be torn by a write of it. WAL-logged, but for the data of unlogged relations. `progress` is told of bytes,
// and may throw.
void copy_relation(const Stored &relation, Oid copy, const std::function<void(int64)> &progress);

} // namespace pgbraid::branch
