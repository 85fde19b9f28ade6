// What the verbs ask of a family of databases, and how they change it. In an open transaction.
#pragma once
#include "branch/process.h"
#include "catalog/branches.h"
#include "core/base/bytes.h"

#include <string>
#include <string_view>

namespace pgbraid::branch {

using catalog::Family;
using catalog::Kind;
using catalog::Member;

// The family of the request, locked; its database has a label from now on.
Family lock_family(const Request &request);

// The first label of a family, whose one branch has this name.
void begin_family(const Family &family, const Member &first, const std::string &name);

// The member that the request's database is; 3D000 if it is gone.
const Member &self_of(const Family &family, const Request &request);

// 42501 unless it belongs to whose operation it is. Asked of every member that is copied, renamed or changed.
void refuse_stranger(const Request &request, const Member &member);

// 42704 with a hint.
const Member &require(const Family &family, Kind kind, const std::string &name);
// Of a request that may name either; 42P09 where both kinds have one of that name.
const Member &require_any(const Family &family, const Request &request);
void refuse_duplicate(const Family &family, Kind kind, const std::string &name); // 42710
void refuse_unfinished(const Member &member);									 // 55006
void refuse_protected(const Member &member);									 // 55000

// 55006 unless forced: slots and subscriptions follow the database, not its name. `what` is about to happen. Flows know
// of switches, and a copy is not theirs; but their slots would go with the database.
void refuse_replication(const Request &request, const Member &member, catalog::Slots which, const char *what);

// 55006, forced or not: a database can't be dropped while they are in it, and only who is connected to it can drop
// them.
void refuse_subscriptions(const Member &member);

// A JSON object for catalog::label(), member by member.
class Patch {
public:
	Patch &text(const char *key, std::string_view value); // "" removes the key
	Patch &kind(const char *key, Kind kind) { return text(key, core::branch::name_of(kind)); }
	Patch &flag(const char *key, bool value); // false removes the key
	Patch &number(const char *key, int64 value);
	Patch &now(const char *key);
	Patch &object(const char *key, const Patch &value);
	Patch &remove(const char *key);
	std::string json() const;

private:
	core::Bytes &value_of(const char *key);
	core::Bytes members_;
};

// The name of its database when it isn't checked out; one that nobody has.
std::string resting_name(const Family &family, Kind kind, const std::string &name);

// Its flows hear of it at commit: it may be checked out now, or not any more.
void rename_member(Oid database, const std::string &name);

// A transaction that takes locks on names, which keep connections waiting: it lets go of them when it does not get all
// of them soon, and tries again a few times.
template <typename F>
void switch_names(const char *activity, F &&f)
{
	for (int tries = 0;; tries++) {
		auto trouble = pg::attempt(activity, "1s", f);
		if (!trouble)
			return;
		if (trouble->sqlstate != "55P03" || tries == 4)
			pg::throw_again(*trouble);
		check_cancelled();
	}
}

void log(const Request &request, Oid database, const char *operation, const std::string &detail = "");

} // namespace pgbraid::branch
