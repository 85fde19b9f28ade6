// Which database has the family's name: changed in one transaction, in which nothing is copied or dropped.
#include "branch/copy.h"
#include "branch/family.h"
#include "branch/sessions.h"
#include "branch/verbs.h"
#include "catalog/databases.h"
#include "worker/pause.h"

extern "C" {
#include "access/xact.h"
#include "miscadmin.h"
}

#include <algorithm>
#include <optional>

namespace pgbraid::branch {

namespace {

// In the order of their oids, as everybody locks them.
void lock_both(Oid one, Oid other)
{
	catalog::lock_database(std::min(one, other));
	if (one != other)
		catalog::lock_database(std::max(one, other));
}

struct Left {
	Oid database = InvalidOid;
	std::string branch;
};

// The transaction of a checkout. Nobody left: it was checked out already, or nothing was before.
Left switch_to(const Request &request, Oid &database, bool &is_there)
{
	Family family = lock_family(request);
	if (request.creates && family.find(Kind::branch, request.name) == nullptr)
		return {};
	const Member &target = require(family, Kind::branch, request.name);
	refuse_unfinished(target);
	refuse_stranger(request, target);
	is_there = true;
	database = target.oid;
	const Member *old = family.checked_out();
	if (old == &target)
		return {};
	catalog::hold_connections(family.name);
	lock_both(target.oid, old ? old->oid : target.oid);
	if (old) {
		refuse_stranger(request, *old);
		refuse_replication(request, *old, catalog::Slots::of_others, "go on with the branch that is left");
		rename_member(old->oid, resting_name(family, Kind::branch, old->name));
	}
	rename_member(target.oid, family.name);
	catalog::label(target.oid, Patch().now("switched").json());
	log(request, target.oid, "checkout", old ? "from " + old->name : "");
	pg::call([] { ForceSyncCommit(); });
	reach("switching");
	return old ? Left{old->oid, old->name} : Left{};
}

Outcome settled(const Request &request, Oid database, const Left &left)
{
	Outcome outcome{.database = database};
	if (OidIsValid(left.database))
		outcome.notice = settle_sessions(request, left.database, left.branch);
	return outcome;
}

std::optional<Oid> find_spare(const Request &request)
{
	std::optional<Oid> found;
	pg::transact("looking for a spare", [&] {
		Family family = catalog::read_family(request.database);
		for (const Member &member : family.members)
			if (member.kind == Kind::spare && member.parent_oid == request.connect && !member.is_invalid)
				found = member.oid;
	});
	return found;
}

// The transaction of a reset: the spare becomes the branch, and what it was goes to the trash.
Left hand_out(const Request &request, Oid spare)
{
	Family family = lock_family(request);
	const Member &old = self_of(family, request);
	const Member *fresh = family.find(spare);
	if (fresh == nullptr || fresh->kind != Kind::spare)
		throw pg::Failure({.sqlstate = "40001", .message = "somebody else took the spare", .hint = "Try again."});
	if (old.kind != Kind::branch)
		throw pg::Failure({.sqlstate = "55000",
						   .message = "database \"" + old.database + "\" is no branch",
						   .hint = "Reset the branch itself: pgbranch_reset(snapshot, database)."});
	refuse_stranger(request, old);
	refuse_protected(old);
	refuse_subscriptions(old);
	refuse_replication(request, old, catalog::Slots::all, "be thrown away with it");
	catalog::hold_connections(old.database);
	lock_both(old.oid, spare);
	rename_member(old.oid, resting_name(family, Kind::trash, old.name));
	rename_member(spare, old.database);
	catalog::open_database(old.oid, false);
	catalog::open_database(spare, true);
	Patch taken, trashed;
	taken.text("kind", "branch")
		.text("name", old.name)
		.text("parent", request.name)
		.text("parent_kind", "snapshot")
		.text("description", old.description);
	taken.now("switched").raw("parent_oid", "null").raw("first", old.is_first ? "true" : "null");
	catalog::label(spare, taken.json());
	Patch how;
	how.text("by", "reset").text("was", "branch").now("at");
	trashed.text("kind", "trash").raw("trashed", how.json());
	catalog::label(old.oid, trashed.json());
	log(request, spare, "reset", "to " + std::string(request.name));
	pg::call([] { ForceSyncCommit(); });
	reach("switching");
	return {old.oid, old.name};
}

} // namespace

Outcome checkout(const Request &request)
{
	show(Phase::switching);
	for (;;) {
		Oid database = InvalidOid;
		bool is_there = false;
		Left left;
		switch_names("switching branches", [&] { left = switch_to(request, database, is_there); });
		if (is_there)
			reach("switched");
		if (is_there)
			return settled(request, database, left);
		Request creation = request;
		creation.switches = false;
		(void) create(creation);
	}
}

Outcome reset(const Request &request)
{
	auto spare = find_spare(request);
	Oid fresh = spare ? *spare : make_spare(request).database;
	show(Phase::switching);
	Left left;
	switch_names("resetting a branch", [&] { left = hand_out(request, fresh); });
	reach("switched");
	worker::evict(left.database);
	return settled(request, fresh, left);
}

} // namespace pgbraid::branch
