// The relations of the database that this process is connected to, as files and as what is locked.
#pragma once
#include "pg/compat.h"

#include <set>
#include <utility>
#include <vector>

namespace pgbraid::branch {

struct Stored {
	Oid oid;
	pg::Locator files;
	bool is_permanent; // not unlogged
	bool is_sequence;
	bool is_standard; // its pages have nothing between pd_lower and pd_upper
};

// Every relation with files of its own that is neither shared nor temporary, by a new snapshot. In an open transaction.
std::vector<Stored> read_relations();

// Keeps others out without ever waiting, so that nobody is found in a deadlock with it. Until the transaction ends.
// A call asks again for those locks that it could not get in the one before; `blocked` is the first of them.
class TableLocks {
public:
	// Vacuum, ANALYZE, index builds and other changes of tables, but neither readers nor writers: a
	// ShareUpdateExclusiveLock on each table, matview, TOAST table and catalog; a ShareLock on what a subscription
	// writes. True when it has the lock on every table that there is now.
	bool take_tables();

	// Whoever writes a catalog: a ShareLock on each of them.
	bool take_catalogs();

	Oid blocked() const noexcept { return blocked_; }

private:
	using Lock = std::pair<Oid, int>; // relation, mode
	bool take(const char *query);

	std::set<Lock> held_;
	Oid blocked_ = InvalidOid;
};

// 53200 where so many locks can't be held.
void check_lock_table();

} // namespace pgbraid::branch
