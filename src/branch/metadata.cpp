// What is said about branches and snapshots.
#include "branch/family.h"
#include "branch/verbs.h"
#include "catalog/databases.h"

#include <functional>

namespace pgbraid::branch {

namespace {

Outcome change(const Request &request, const std::function<void(const Family &, const Member &)> &f)
{
	Outcome outcome;
	switch_names("changing a branch", [&] {
		Family family = lock_family(request);
		const Member &member = require_any(family, request);
		refuse_unfinished(member);
		refuse_stranger(request, member);
		f(family, member);
		outcome.database = member.oid;
	});
	return outcome;
}

} // namespace

// The first branch of a family has the name of the request, instead of `main`.
Outcome init(const Request &request)
{
	Outcome outcome;
	pg::transact("beginning a family", [&] {
		Family family = catalog::lock_family(request.database);
		const Member *member = &self_of(family, request);
		if (member->is_labelled)
			throw pg::Failure({.sqlstate = "42710",
							   .message = "database \"" + family.name + "\" has branches already",
							   .hint = "pgbranch_rename gives its first one another name."});
		begin_family(family, *member, request.name);
		log(request, member->oid, "init");
		outcome.database = member->oid;
	});
	return outcome;
}

Outcome rename(const Request &request)
{
	return change(request, [&](const Family &family, const Member &member) {
		refuse_duplicate(family, member.kind, request.new_name);
		for (const Member *child : family.made_from(member)) {
			refuse_unfinished(*child); // its label is locked until it is done
			catalog::label(child->oid, Patch().text("parent", request.new_name).json());
		}
		catalog::label(member.oid, Patch().text("name", request.new_name).json());
		if (!member.is_checked_out) {
			catalog::hold_connections(member.database);
			rename_member(member.oid, resting_name(family, member.kind, request.new_name));
		}
		log(request, member.oid, "rename", "from " + member.name);
	});
}

Outcome set_protection(const Request &request)
{
	bool is_protected = request.verb == Verb::protect;
	return change(request, [&](const Family &, const Member &member) {
		catalog::label(member.oid, Patch().flag("protected", is_protected).json());
		log(request, member.oid, is_protected ? "protect" : "unprotect");
	});
}

Outcome describe(const Request &request)
{
	return change(request, [&](const Family &, const Member &member) {
		catalog::label(member.oid, Patch().text("description", request.description).json());
	});
}

Outcome set_spares(const Request &request)
{
	return change(request, [&](const Family &, const Member &member) {
		Patch patch;
		if (request.spares > 0)
			patch.number("spares", request.spares);
		else
			patch.remove("spares");
		catalog::label(member.oid, patch.json());
		log(request, member.oid, "spares", std::to_string(request.spares));
	});
}

} // namespace pgbraid::branch
