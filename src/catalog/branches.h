// Families of databases: which branch or snapshot each database is. That is kept as JSON in a security label of the
// provider "pgbraid" on each of them, so that it is transactional, seen from every database, follows the database
// through renames, is gone with it, and is dumped by pg_dumpall. In an open transaction.
//
// The checked-out branch is the one whose database has the family's name. A database without a label is a family of its
// own, with the branch `main` checked out.
#pragma once
#include "core/branch/name.h"
#include "pg/boundary.h"

extern "C" {
#include "datatype/timestamp.h"
}

#include <string>
#include <string_view>
#include <vector>

namespace pgbraid::catalog {

using core::branch::Kind;

struct Member {
	Oid oid = InvalidOid;
	std::string database, name;
	Kind kind = Kind::branch;
	std::string parent; // branch or snapshot that it was made from
	Kind parent_kind = Kind::branch;
	Oid parent_oid = InvalidOid; // of a spare: the database of its snapshot
	bool is_first = false;		 // the family has begun with it
	bool is_protected = false, is_copying = false, is_checked_out = false, is_labelled = false;
	bool is_invalid = false; // a DROP DATABASE of it was interrupted, or it is being copied
	std::string description;
	std::string trashed_by;	 // operation: drop or reset
	Kind was = Kind::branch; // of trash: before that
	TimestampTz trashed_at = 0;
};

struct Family {
	std::string name;
	std::vector<Member> members; // in the order of their oids

	const Member *find(Kind kind, std::string_view wanted) const noexcept;
	const Member *find(Oid database) const noexcept;
	const Member *checked_out() const noexcept;
	std::vector<const Member *> made_from(const Member &source) const;
};

// The family that the database belongs to, locked until the transaction ends against others that change it.
Family lock_family(Oid database);
Family read_family(Oid database);

// As the transaction sees it; what is cached may be its name of a moment ago.
std::string name_of_database(Oid database);

// Labels. `patch` is a JSON object whose keys replace those of the label; a key that is null goes.
void label(Oid database, const std::string &patch);

// Adds a JSON object to the log in the label, of which the latest hundred entries are kept.
void log_operation(Oid database, const std::string &entry);

// Waits until no other connection to a database of this name is being made, and keeps new ones waiting until the
// transaction ends: their database is looked up by its name before it is locked.
void hold_connections(const std::string &database);
void await_switch(const char *database); // the other side, in a backend that authenticates

// What there is to do in the background: databases to drop, spares to make.
struct Leftover {
	Oid oid;
	std::string database;
};
std::vector<Leftover> read_incomplete();
std::vector<Leftover> read_trash(TimestampTz before);
std::vector<Leftover> read_excess_spares(); // more than are wanted, or of a snapshot that is no more
TimestampTz oldest_trash();					// 0: there is none
struct MissingSpares {
	Oid snapshot, owner;
	std::string name; // of the snapshot
};
std::vector<MissingSpares> read_missing_spares(); // each stands for one or more

// Logical replication slots in the database, and subscriptions to others: names, separated by commas.
enum class Slots { all, of_others }; // others than flows
std::string slots_of(Oid database, Slots which);
std::string subscriptions_of(Oid database);

} // namespace pgbraid::catalog
