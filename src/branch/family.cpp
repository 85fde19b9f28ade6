#include "branch/family.h"

#include "catalog/databases.h"
#include "core/flow/json.h"
#include "pg/compat.h"
#include "worker/commit.h"

extern "C" {
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "utils/timestamp.h"
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

// One that has been dropped meanwhile has none.
std::string role_name(Oid role)
{
	const char *name = pg::call([&] { return GetUserNameFromId(role, true); });
	return name ? name : "";
}

} // namespace

Family lock_family(const Request &request)
{
	Family family = catalog::lock_family(request.database);
	const Member *member = family.find(request.database);
	if (member == nullptr || member->is_labelled)
		return family;
	begin_family(family, *member, member->name);
	return catalog::read_family(request.database);
}

void begin_family(const Family &family, const Member &first, const std::string &name)
{
	Patch label;
	label.text("family", family.name).kind("kind", Kind::branch).text("name", name).now("created").flag("first", true);
	catalog::label(first.oid, label.json());
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
	const Member *branch = family.find(Kind::branch, request.name);
	const Member *snapshot = family.find(Kind::snapshot, request.name);
	if (request.kind == Wanted::branch || (request.kind == Wanted::any && snapshot == nullptr))
		return require(family, Kind::branch, request.name);
	if (request.kind == Wanted::snapshot || branch == nullptr)
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

core::Bytes &Patch::value_of(const char *key)
{
	members_.append(members_.empty() ? "" : ", ");
	core::append_json_string(members_, key);
	members_.append(": ");
	return members_;
}

Patch &Patch::text(const char *key, std::string_view value)
{
	if (value.empty())
		return remove(key);
	core::append_json_string(value_of(key), value);
	return *this;
}

Patch &Patch::flag(const char *key, bool value)
{
	if (!value)
		return remove(key);
	value_of(key).append("true");
	return *this;
}

Patch &Patch::number(const char *key, int64 value)
{
	core::append_json_integer(value_of(key), value);
	return *this;
}

Patch &Patch::now(const char *key)
{
	core::Bytes moment;
	core::append_timestamp(moment, GetCurrentTimestamp());
	return text(key, moment.view());
}

Patch &Patch::object(const char *key, const Patch &value)
{
	value_of(key).append(value.json());
	return *this;
}

Patch &Patch::remove(const char *key)
{
	value_of(key).append("null");
	return *this;
}

std::string Patch::json() const
{
	return "{" + std::string(members_.view()) + "}";
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
	worker::note_moved_database(database);
}

void log(const Request &request, Oid database, const char *operation, const std::string &detail)
{
	Patch entry;
	entry.now("at").text("role", role_name(request.role)).text("operation", operation);
	if (!detail.empty())
		entry.text("detail", detail);
	catalog::log_operation(database, entry.json());
}

} // namespace pgbraid::branch
