// What is dropped is renamed away at once, and removed in the background after pgbraid.branch_trash_age; until then it
// can be had back.
#include "branch/trash.h"

#include "branch/sessions.h"
#include "branch/verbs.h"

#include <algorithm>

namespace pgbraid::branch {

namespace {

void refuse_dependents(const Request &request, const Family &family, const Member &member)
{
	std::string names;
	for (const Member *child : family.made_from(member))
		names += (names.empty() ? "" : ", ") + child->name;
	if (!names.empty() && !request.is_forced)
		throw pg::Failure({.sqlstate = "2BP01",
						   .message = "others were made from \"" + member.name + "\"",
						   .detail = "They are: " + names + ".",
						   .hint = "They stay whole without it: repeat with force."});
}

void refuse_drop(const Request &request, const Family &family, const Member &member)
{
	refuse_unfinished(member);
	refuse_throwing_away(request, member);
	if (member.is_checked_out && !request.is_forced)
		throw pg::Failure({.sqlstate = "55006",
						   .message = "branch \"" + member.name + "\" is checked out",
						   .hint = "Check out another one first, or repeat with force."});
	refuse_dependents(request, family, member);
	refuse_sessions(request, member.oid, member.name);
}

const Member *latest_trash(const Family &family, const Request &request)
{
	const Member *found = nullptr;
	for (const Member &member : family.members)
		if (member.kind == Kind::trash && !member.is_invalid &&
			(request.name[0] == '\0' || member.name == request.name))
			if (found == nullptr || member.trashed_at > found->trashed_at)
				found = &member;
	return found;
}

// Whatever has its name now goes to the trash instead, if that is what a reset has put there.
std::string make_room(const Request &request, const Family &family, const Member &member)
{
	const Member *present = family.find(member.was, member.name);
	if (present == nullptr)
		return resting_name(family, member.was, member.name);
	if (member.trashed_by != "reset")
		refuse_duplicate(family, member.was, member.name);
	refuse_throwing_away(request, *present);
	std::string name = present->database;
	throw_away(family, *present, "reset");
	return name;
}

struct Restored {
	Outcome outcome;
	Oid displaced = InvalidOid; // what had its place
};

Restored restore(const Request &request)
{
	Family family = lock_family(request);
	const Member *member = latest_trash(family, request);
	if (member == nullptr)
		throw pg::Failure({.sqlstate = "42704",
						   .message = "there is nothing to undo",
						   .hint = "What was dropped or reset longer ago than pgbraid.branch_trash_age is gone."});
	refuse_stranger(request, *member);
	const Member *present = family.find(member->was, member->name);
	std::string name = make_room(request, family, *member);
	catalog::hold_connections(name);
	rename_member(member->oid, name);
	catalog::set_access(member->oid, member->was == Kind::branch ? Access::open : Access::sealed);
	catalog::label(member->oid, Patch().kind("kind", member->was).remove("trashed").json());
	log(request, member->oid, "undo", member->trashed_by);
	return {.outcome = {.database = member->oid,
						.notice = "undone: " + member->trashed_by + " of " +
								  std::string(core::branch::name_of(member->was)) + " \"" + member->name + "\""},
			.displaced = present ? present->oid : InvalidOid};
}

} // namespace

void refuse_throwing_away(const Request &request, const Member &member)
{
	refuse_stranger(request, member);
	refuse_protected(member);
	refuse_subscriptions(member);
	refuse_replication(request, member, catalog::Slots::all, "be thrown away with it");
}

void throw_away(const Family &family, const Member &member, const char *by)
{
	catalog::hold_connections(member.database);
	rename_member(member.oid, resting_name(family, Kind::trash, member.name));
	catalog::set_access(member.oid, Access::closed);
	Patch how, patch;
	how.text("by", by).kind("was", member.kind).now("at");
	patch.kind("kind", Kind::trash).object("trashed", how);
	catalog::label(member.oid, patch.json());
}

Outcome drop(const Request &request)
{
	show(Phase::switching);
	Oid dropped = InvalidOid;
	switch_names("dropping a branch", [&] {
		Family family = lock_family(request);
		const Member &member = require_any(family, request);
		refuse_drop(request, family, member);
		throw_away(family, member, "drop");
		log(request, member.oid, "drop", "");
		dropped = member.oid;
		reach("switching");
	});
	reach("switched");
	end_sessions(dropped);
	return {.database = dropped};
}

Outcome undo(const Request &request)
{
	show(Phase::switching);
	Restored restored;
	switch_names("undoing", [&] { restored = restore(request); });
	if (OidIsValid(restored.displaced))
		end_sessions(restored.displaced);
	return restored.outcome;
}

} // namespace pgbraid::branch
