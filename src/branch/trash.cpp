// What is dropped is renamed away at once, and removed in the background after pgbraid.branch_trash_age; until then it
// can be had back.
#include "branch/family.h"
#include "branch/sessions.h"
#include "branch/verbs.h"
#include "catalog/databases.h"

extern "C" {
#include "access/xact.h"
}

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
	refuse_stranger(request, member);
	refuse_protected(member);
	refuse_subscriptions(member);
	if (member.is_checked_out && !request.is_forced)
		throw pg::Failure({.sqlstate = "55006",
						   .message = "branch \"" + member.name + "\" is checked out",
						   .hint = "Check out another one first, or repeat with force."});
	refuse_dependents(request, family, member);
	refuse_replication(request, member, catalog::Slots::all, "lose its place");
	refuse_sessions(request, member.oid, member.name);
}

void throw_away(const Family &family, const Member &member, const char *by)
{
	catalog::hold_connections(member.database);
	rename_member(member.oid, resting_name(family, Kind::trash, member.name));
	catalog::open_database(member.oid, false);
	Patch how, patch;
	how.text("by", by).text("was", std::string(core::branch::name_of(member.kind))).now("at");
	patch.text("kind", "trash").raw("trashed", how.json());
	catalog::label(member.oid, patch.json());
}

// The latest first.
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
	refuse_stranger(request, *present);
	refuse_protected(*present);
	refuse_subscriptions(*present);
	refuse_replication(request, *present, catalog::Slots::all, "be thrown away with it");
	std::string name = present->database;
	throw_away(family, *present, "reset");
	return name;
}

Oid restore(const Request &request, Oid &displaced, std::string &notice)
{
	Family family = lock_family(request);
	const Member *member = latest_trash(family, request);
	if (member == nullptr)
		throw pg::Failure({.sqlstate = "42704",
						   .message = "there is nothing to undo",
						   .hint = "What was dropped or reset longer ago than pgbraid.branch_trash_age is gone."});
	refuse_stranger(request, *member);
	if (const Member *present = family.find(member->was, member->name))
		displaced = present->oid;
	std::string name = make_room(request, family, *member);
	catalog::hold_connections(name);
	rename_member(member->oid, name);
	if (member->was == Kind::branch)
		catalog::open_database(member->oid, true);
	else
		catalog::seal_database(member->oid);
	catalog::label(member->oid,
				   Patch().text("kind", std::string(core::branch::name_of(member->was))).raw("trashed", "null").json());
	log(request, member->oid, "undo", member->trashed_by);
	notice = "undone: " + member->trashed_by + " of " + std::string(core::branch::name_of(member->was)) + " \"" +
			 member->name + "\"";
	pg::call([] { ForceSyncCommit(); });
	return member->oid;
}

} // namespace

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
		pg::call([] { ForceSyncCommit(); });
		reach("switching");
	});
	reach("switched");
	end_sessions(dropped);
	return {.database = dropped};
}

Outcome undo(const Request &request)
{
	show(Phase::switching);
	Outcome outcome;
	Oid displaced = InvalidOid;
	switch_names("undoing", [&] { outcome.database = restore(request, displaced, outcome.notice); });
	if (OidIsValid(displaced))
		end_sessions(displaced);
	return outcome;
}

} // namespace pgbraid::branch
