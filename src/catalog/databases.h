// Rows of pg_database, and what hangs on them, as no SQL statement changes them: a copy that is not usable before its
// files are there, and other names for databases that have sessions. In an open transaction.
#pragma once
#include "pg/boundary.h"

#include <string>

namespace pgbraid::catalog {

// A row like that of `source`, of an invalid database: nobody connects to it, vacuum passes it by, and DROP DATABASE
// removes it with the files that it may have by then.
Oid insert_database(Oid source, const std::string &name);

// Makes it valid, with all that `source` has by now: limits, locale, frozen horizons, privileges, ALTER DATABASE SET,
// comment, and the dependencies of its objects on roles and tablespaces. A template that nobody connects to if
// `sealed`, else open.
void complete_database(Oid copy, Oid source, bool sealed);

// Its sessions stay. With lock_database().
void rename_database(Oid database, const std::string &name);

enum class Access {
	open,
	closed, // ALLOW_CONNECTIONS false
	sealed, // and IS_TEMPLATE true
};
void set_access(Oid database, Access access);

// AccessShareLock on the database, which must be there: nobody drops it. Until the transaction ends.
void hold_database(Oid database);

// AccessExclusiveLock on the database: who connects waits. Until the transaction ends.
void lock_database(Oid database);

} // namespace pgbraid::catalog
