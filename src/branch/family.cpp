#include "branch/family.h"

#include "catalog/databases.h"
#include "pg/compat.h"
#include "pg/spi.h"
#include "worker/commit.h"

extern "C" {
#include "commands/dbcommands.h"
}

namespace pgbraid::branch {

namespace {

std::string quoted(Kind kind, const std::string &name)
{
	return std::string(core::branch::name_of(kind)) + " \"" + name + "\"";
}

bool exists(const std::string &database)
{
	return OidIsValid(pg::call([&] { return get_database_oid(database.c_str(), true); }));
}

} // namespace

Family lock_family(const Request &request)
{
	Family family = catalog::lock_family(request.database);
	const Member *member = family.find(request.database);
	if (member == nullptr || member->is_labelled)
		return family;
	Patch patch;
	patch.text("family", family.name)
		.text("kind", "branch")
		.text("name", member->name)
		.now("created")
		.raw("first", "true");
	catalog::label(member->oid, patch.json());
	return catalog::read_family(request.database);
}

const Member &self_of(const Family &family, const Request &request)
{
	if (const Member *member = family.find(request.database))
		return *member;
	throw pg::Failure({.sqlstate = "3D000", .message = "the database is gone, or of another family"});
}

void refuse_stranger(const Request &request, const Member &member)
{
	if (pg::call([&] { return pg::owns_database(member.oid, request.role); }))
		return;
	throw pg::Failure({.sqlstate = "42501",
					   .message = "must be owner of database \"" + member.database + "\"",
					   .hint = "It is another one's, though of the same family."});
}

const Member &require(const Family &family, Kind kind, const std::string &name)
{
	if (const Member *found = family.find(kind, name))
		return *found;
	throw pg::Failure({.sqlstate = "42704",
					   .message = quoted(kind, name) + " of database \"" + family.name + "\" does not exist",
					   .hint = "SELECT name, kind FROM pgbranch_list() shows those that do."});
}

const Member &require_any(const Family &family, const Request &request)
{
	std::string kind = request.kind;
	const Member *branch = family.find(Kind::branch, request.name);
	const Member *snapshot = family.find(Kind::snapshot, request.name);
	if (kind == "branch" || (kind.empty() && snapshot == nullptr))
		return require(family, Kind::branch, request.name);
	if (kind == "snapshot" || branch == nullptr)
		return require(family, Kind::snapshot, request.name);
	throw pg::Failure({.sqlstate = "42P09",
					   .message = "\"" + std::string(request.name) + "\" is both a branch and a snapshot",
					   .hint = "Say which: kind => 'branch' or kind => 'snapshot'."});
}

void refuse_duplicate(const Family &family, Kind kind, const std::string &name)
{
	if (family.find(kind, name) != nullptr)
		throw pg::Failure({.sqlstate = "42710",
						   .message = quoted(kind, name) + " of database \"" + family.name + "\" exists already",
						   .hint = "Choose another name, or pgbranch_drop it first."});
}

void refuse_unfinished(const Member &member)
{
	if (member.is_copying)
		throw pg::Failure({.sqlstate = "55006",
						   .message = quoted(member.kind, member.name) + " is still being made",
						   .hint = "pgbraid.stat_branch shows how far it is."});
}

void refuse_protected(const Member &member)
{
	if (member.is_protected)
		throw pg::Failure({.sqlstate = "55000",
						   .message = quoted(member.kind, member.name) + " is protected",
						   .hint = "pgbranch_unprotect takes that away."});
}

void refuse_replication(const Request &request, const Member &member, catalog::Slots which, const char *what)
{
	if (request.is_forced)
		return;
	std::string slots = catalog::slots_of(member.oid, which), subscriptions = catalog::subscriptions_of(member.oid);
	if (slots.empty() && subscriptions.empty())
		return;
	std::string detail = slots.empty() ? "" : "Replication slots: " + slots + ".";
	if (!subscriptions.empty())
		detail += std::string(detail.empty() ? "" : " ") + "Subscriptions: " + subscriptions + ".";
	throw pg::Failure({.sqlstate = "55006",
					   .message = "database \"" + member.database + "\" takes part in replication, which would " + what,
					   .detail = detail,
					   .hint = "Remove them, or repeat with force."});
}

void refuse_subscriptions(const Member &member)
{
	std::string names = catalog::subscriptions_of(member.oid);
	if (!names.empty())
		throw pg::Failure({.sqlstate = "55006",
						   .message = "there are subscriptions in database \"" + member.database + "\"",
						   .detail = "They are: " + names + ".",
						   .hint = "DROP SUBSCRIPTION there first."});
}

Patch &Patch::text(const char *key, const std::string &value)
{
	return raw(key, value.empty() ? "null" : catalog::to_json(value));
}

Patch &Patch::raw(const char *key, const std::string &json)
{
	members_ += std::string(members_.empty() ? "" : ", ") + "\"" + key + "\": " + json;
	return *this;
}

Patch &Patch::now(const char *key)
{
	std::string moment;
	pg::spi::each("SELECT to_json(clock_timestamp())::text", {},
				  [&](const pg::spi::Row &row) { moment = row.text(1); });
	return raw(key, moment);
}

std::string resting_name(const Family &family, Kind kind, const std::string &name)
{
	uint32 number = kind == Kind::branch || kind == Kind::snapshot ? 0 : 1;
	std::string found = core::branch::database_name(family.name, kind, name, number);
	while (number > 0 && exists(found))
		found = core::branch::database_name(family.name, kind, name, ++number);
	if (exists(found))
		throw pg::Failure(
			{.sqlstate = "42P04",
			 .message = "database \"" + found + "\" exists already, and is none of this family",
			 .hint = "Rename it, or choose another name for the " + std::string(core::branch::name_of(kind)) + "."});
	return found;
}

void rename_member(Oid database, const std::string &name)
{
	catalog::rename_database(database, name);
	worker::note_database_change(database);
}

void log(const Request &request, Oid database, const char *operation, const std::string &detail)
{
	catalog::log_operation(database, request.role, operation, detail);
}

} // namespace pgbraid::branch
