// Which database has the family's name: changed in one transaction, in which nothing is copied or dropped.
#include "branch/sessions.h"
#include "branch/trash.h"
#include "branch/verbs.h"
#include "worker/pause.h"

#include <optional>

namespace pgbraid::branch {

namespace {

// A database that has lost its name. Nobody: the branch was checked out already, or none was.
struct Displaced {
	Oid database = InvalidOid;
	std::string branch;
};

struct Switch {
	Oid database;
	Displaced displaced;
};

// The transaction of a checkout. Nothing, if there is no such branch yet, and the request says that it is to be made.
std::optional<Switch> switch_to(const Request &request)
{
	Family family = lock_family(request);
	if (request.creates && family.find(Kind::branch, request.name) == nullptr)
		return std::nullopt;
	const Member &target = require(family, Kind::branch, request.name);
	refuse_unfinished(target);
	refuse_stranger(request, target);
	const Member *old = family.checked_out();
	if (old == &target)
		return Switch{target.oid, {}};
	catalog::hold_connections(family.name); // before the locks on databases, as who connects takes them
	if (old) {
		refuse_stranger(request, *old);
		refuse_replication(request, *old, catalog::Slots::of_others, "go on with the branch that is left");
		rename_member(old->oid, resting_name(family, Kind::branch, old->name));
	}
	rename_member(target.oid, family.name);
	catalog::label(target.oid, Patch().now("switched").json());
	log(request, target.oid, "checkout", old ? "from " + old->name : "");
	reach("switching");
	return Switch{target.oid, old ? Displaced{old->oid, old->name} : Displaced{}};
}

Outcome settled(const Request &request, Oid database, const Displaced &displaced)
{
	Outcome outcome{.database = database};
	if (OidIsValid(displaced.database))
		outcome.notice = settle_sessions(request, displaced.database, displaced.branch);
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

// Of the spare that takes the place of a branch.
std::string label_of_heir(const Request &request, const Member &old)
{
	return Patch()
		.kind("kind", Kind::branch)
		.text("name", old.name)
		.text("parent", request.name)
		.kind("parent_kind", Kind::snapshot)
		.text("description", old.description)
		.now("switched")
		.remove("parent_oid")
		.flag("first", old.is_first)
		.json();
}

// The transaction of a reset: the spare becomes the branch, and what it was goes to the trash. Nothing, if somebody
// else was faster and has the spare.
std::optional<Displaced> hand_out(const Request &request, Oid spare)
{
	Family family = lock_family(request);
	const Member &old = self_of(family, request);
	const Member *fresh = family.find(spare);
	if (fresh == nullptr || fresh->kind != Kind::spare)
		return std::nullopt;
	if (old.kind != Kind::branch)
		throw pg::Failure({.sqlstate = "55000",
						   .message = "database \"" + old.database + "\" is no branch",
						   .hint = "Reset the branch itself: pgbranch_reset(snapshot, database)."});
	refuse_throwing_away(request, old);
	throw_away(family, old, "reset");
	rename_member(spare, old.database);
	catalog::set_access(spare, Access::open);
	catalog::label(spare, label_of_heir(request, old));
	log(request, spare, "reset", "to " + std::string(request.name));
	reach("switching");
	return Displaced{old.oid, old.name};
}

} // namespace

Outcome checkout(const Request &request)
{
	for (;;) {
		show(Phase::switching);
		std::optional<Switch> made;
		switch_names("switching branches", [&] { made = switch_to(request); });
		if (made) {
			reach("switched");
			return settled(request, made->database, made->displaced);
		}
		Request creation = request;
		creation.switches = false;
		(void) create(creation);
	}
}

Outcome reset(const Request &request)
{
	Oid fresh = InvalidOid;
	std::optional<Displaced> displaced;
	while (!displaced) {
		auto spare = find_spare(request);
		fresh = spare ? *spare : make_spare(request).database;
		show(Phase::switching);
		switch_names("resetting a branch", [&] { displaced = hand_out(request, fresh); });
	}
	reach("switched");
	worker::evict(displaced->database);
	return settled(request, fresh, *displaced);
}

} // namespace pgbraid::branch
