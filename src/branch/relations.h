// The relations of the database that this process is connected to, as files and as what is locked.
#pragma once
#include "pg/compat.h"

#include <set>
#include <vector>

namespace pgbraid::branch {

struct Stored {
	Oid oid;
	pg::Locator files;
	bool is_permanent; // not unlogged
	bool is_standard;  // its pages have nothing between pd_lower and pd_upper
};

// Every relation with files of its own that is neither shared nor temporary, by a new snapshot. In an open transaction.
std::vector<Stored> read_relations();

// Keeps vacuum, ANALYZE, index builds and other changes of tables out, but neither readers nor writers: a
// ShareUpdateExclusiveLock on each table, matview, TOAST table and catalog; more on what can be written past the gate.
// Never waits, so that nobody else is ever found in a deadlock with it. Until the transaction ends.
class TableLocks {
public:
	// True when it has the lock on every table that there is now. Locks that it could not get are asked for again in
	// the next call; `blocked` is the first of them.
	bool take();
	Oid blocked() const noexcept { return blocked_; }

private:
	std::set<Oid> held_;
	Oid blocked_ = InvalidOid;
};

// 53200 where so many locks can't be held.
void check_lock_table();

} // namespace pgbraid::branch
