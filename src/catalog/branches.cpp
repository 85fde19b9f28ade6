#include "catalog/branches.h"

#include "pg/spi.h"

extern "C" {
#include "access/xact.h"
#include "catalog/objectaddress.h"
#include "catalog/pg_database.h"
#include "commands/seclabel.h"
#include "common/hashfn.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "utils/acl.h"
#include "utils/inval.h"
#include "utils/snapmgr.h"
}

#include <algorithm>

namespace pgbraid::catalog {

namespace {

using namespace pg::spi;

// Locks of ours on a name or a family, beside those that PostgreSQL takes on databases (whose objsubid is 0).
enum class Lock : uint16 { connections = 0x5042, family = 0x5046, label = 0x504c };

LOCKTAG tag_of(Lock lock, std::string_view name)
{
	LOCKTAG tag;
	uint32 hash = hash_bytes(reinterpret_cast<const unsigned char *>(name.data()), (int) name.size());
	SET_LOCKTAG_OBJECT(tag, InvalidOid, DatabaseRelationId, hash, static_cast<uint16>(lock));
	return tag;
}

void take(Lock lock, std::string_view name, LOCKMODE mode)
{
	LOCKTAG tag = tag_of(lock, name);
	pg::call([&] { (void) LockAcquire(&tag, mode, false, false); });
}

#define LABELLED                                                                                                       \
	"SELECT d.oid, d.datname, d.datdba, d.datconnlimit, l.label::jsonb AS label "                                      \
	"  FROM pg_catalog.pg_database d "                                                                                 \
	"  LEFT JOIN pg_catalog.pg_shseclabel l ON l.objoid = d.oid AND l.classoid = 'pg_catalog.pg_database'::regclass "  \
	"       AND l.provider = 'pgbraid'"

constexpr char select_family_name[] = "SELECT coalesce(label->>'family', datname) FROM (" LABELLED ") d WHERE oid = $1";

constexpr char select_members[] =
	"SELECT oid, datname, coalesce(label->>'name', 'main'), coalesce(label->>'kind', 'branch'), label->>'parent', "
	"       coalesce((label->>'protected')::boolean, false), label->>'state' = 'copying' AND datconnlimit = -2, "
	"       datname = $1, label IS NOT NULL, label->>'description', coalesce((label->>'spares')::integer, 0), "
	"       label->'trashed'->>'by', coalesce(label->'trashed'->>'was', 'branch'), "
	"       (label->'trashed'->>'at')::timestamptz, coalesce(label->>'parent_kind', 'branch'), "
	"       coalesce((label->>'parent_oid')::oid, 0), datconnlimit = -2, "
	"       coalesce((label->>'first')::boolean, false) "
	"  FROM (" LABELLED ") d WHERE coalesce(label->>'family', datname) = $1 "
	"   AND (label IS NOT NULL OR NOT EXISTS (SELECT FROM pg_catalog.pg_shseclabel s WHERE s.provider = 'pgbraid' "
	"                                            AND s.label::jsonb->>'family' = $1)) ORDER BY oid";

constexpr char merge_label[] = "SELECT jsonb_strip_nulls(coalesce(label, '{}') || $2::jsonb)::text "
							   "  FROM (" LABELLED ") d WHERE oid = $1";

// The latest hundred.
constexpr char add_to_log[] =
	"SELECT (coalesce(label, '{}') || jsonb_build_object('log', ("
	"    SELECT jsonb_agg(e ORDER BY n) FROM ("
	"        SELECT e, n FROM jsonb_array_elements(coalesce(label->'log', '[]') || "
	"jsonb_strip_nulls(jsonb_build_object("
	"            'at', clock_timestamp(), 'role', pg_get_userbyid($2), 'operation', $3, 'detail', nullif($4, '')))) "
	"            WITH ORDINALITY entry(e, n) ORDER BY n DESC LIMIT 100) latest)))::text "
	"  FROM (" LABELLED ") d WHERE oid = $1";

constexpr char select_incomplete[] =
	"SELECT oid, datname FROM (" LABELLED ") d WHERE label->>'state' = 'copying' AND datconnlimit = -2";

constexpr char select_trash[] =
	"SELECT oid, datname FROM (" LABELLED ") d "
	" WHERE label->>'kind' = 'trash' AND (label->'trashed'->>'at')::timestamptz <= $1 ORDER BY oid";

constexpr char select_oldest_trash[] =
	"SELECT min((label->'trashed'->>'at')::timestamptz) FROM (" LABELLED ") d WHERE label->>'kind' = 'trash'";

constexpr char select_missing_spares[] =
	"WITH labelled AS (" LABELLED ") "
	"SELECT s.oid, s.datdba, s.label->>'name' "
	"  FROM labelled s LEFT JOIN labelled p ON p.label->>'kind' = 'spare' AND (p.label->>'parent_oid')::oid = s.oid "
	" WHERE s.label->>'kind' = 'snapshot' AND (s.label->>'spares')::integer > 0 AND s.datconnlimit <> -2 "
	" GROUP BY s.oid, s.datdba, s.label HAVING (s.label->>'spares')::integer > count(p.oid)";

constexpr char select_excess_spares[] =
	"WITH labelled AS (" LABELLED "), "
	"spare AS (SELECT p.oid, p.datname, (p.label->>'parent_oid')::oid AS snapshot, "
	"                 row_number() OVER (PARTITION BY p.label->>'parent_oid' ORDER BY p.oid) AS number "
	"            FROM labelled p WHERE p.label->>'kind' = 'spare' AND p.datconnlimit <> -2) "
	"SELECT p.oid, p.datname FROM spare p LEFT JOIN labelled s ON s.oid = p.snapshot AND s.label->>'kind' = 'snapshot' "
	" WHERE p.number > coalesce((s.label->>'spares')::integer, 0)";

#undef LABELLED

Kind kind_of(const std::string &name)
{
	for (Kind kind : {Kind::branch, Kind::snapshot, Kind::spare})
		if (core::branch::name_of(kind) == name)
			return kind;
	return Kind::trash;
}

Member member_from(const Row &row)
{
	return {.oid = row.oid(1),
			.database = row.text(2),
			.name = row.text(3),
			.kind = kind_of(row.text(4)),
			.parent = row.text(5),
			.parent_kind = kind_of(row.text(15)),
			.parent_oid = row.oid(16),
			.is_first = row.boolean(18),
			.is_protected = row.boolean(6),
			.is_copying = !row.is_null(7) && row.boolean(7),
			.is_checked_out = row.boolean(8),
			.is_labelled = row.boolean(9),
			.is_invalid = row.boolean(17),
			.description = row.text(10),
			.spares = row.integer(11),
			.trashed_by = row.text(12),
			.was = kind_of(row.text(13)),
			.trashed_at = row.timestamp(14)};
}

std::string family_name(Oid database)
{
	std::string name;
	if (each(select_family_name, {oid(database)}, [&](const Row &row) { name = row.text(1); }) == 0)
		throw pg::Failure({.sqlstate = "3D000", .message = "the database is gone"});
	return name;
}

Family family_of(std::string name)
{
	Family family{std::move(name), {}};
	each(select_members, {text(family.name)}, [&](const Row &row) { family.members.push_back(member_from(row)); });
	return family;
}

void set_label(Oid database, const std::string &label)
{
	pg::call([&] {
		ObjectAddress address;
		ObjectAddressSet(address, DatabaseRelationId, database);
		SetSecurityLabel(&address, "pgbraid", label.c_str());
		CommandCounterIncrement();
	});
}

// One at a time: what somebody else has made of it is read again.
void change_label(Oid database, const char *query, std::initializer_list<Parameter> parameters)
{
	LOCKTAG tag;
	SET_LOCKTAG_OBJECT(tag, InvalidOid, DatabaseRelationId, database, static_cast<uint16>(Lock::label));
	pg::call([&] { (void) LockAcquire(&tag, ExclusiveLock, false, false); });
	std::string changed;
	if (each(query, parameters, [&](const Row &row) { changed = row.text(1); }) == 0)
		throw pg::Failure({.sqlstate = "3D000", .message = "the database is gone"});
	set_label(database, changed);
}

std::vector<Leftover> leftovers(const char *query, std::initializer_list<Parameter> parameters)
{
	std::vector<Leftover> found;
	each(query, parameters, [&](const Row &row) { found.push_back({row.oid(1), row.text(2)}); });
	return found;
}

std::string names(const char *query, Oid database)
{
	std::string found;
	each(query, {oid(database)}, [&](const Row &row) { found = row.text(1); });
	return found;
}

} // namespace

const Member *Family::find(Kind kind, std::string_view wanted) const noexcept
{
	auto found = std::find_if(members.begin(), members.end(),
							  [&](const Member &member) { return member.kind == kind && member.name == wanted; });
	return found == members.end() ? nullptr : &*found;
}

const Member *Family::find(Oid database) const noexcept
{
	auto found =
		std::find_if(members.begin(), members.end(), [&](const Member &member) { return member.oid == database; });
	return found == members.end() ? nullptr : &*found;
}

const Member *Family::checked_out() const noexcept
{
	auto found =
		std::find_if(members.begin(), members.end(), [](const Member &member) { return member.is_checked_out; });
	return found == members.end() ? nullptr : &*found;
}

std::vector<const Member *> Family::made_from(const Member &source) const
{
	std::vector<const Member *> found;
	for (const Member &member : members)
		if (member.oid != source.oid && member.parent == source.name && member.parent_kind == source.kind &&
			(member.kind == Kind::branch || member.kind == Kind::snapshot))
			found.push_back(&member);
	return found;
}

Family lock_family(Oid database)
{
	std::string name = family_name(database);
	take(Lock::family, name, ExclusiveLock);
	return family_of(std::move(name));
}

Family read_family(Oid database)
{
	return family_of(family_name(database));
}

std::string name_of_database(Oid database)
{
	return names("SELECT datname FROM pg_catalog.pg_database WHERE oid = $1", database);
}

void label(Oid database, const std::string &patch)
{
	change_label(database, merge_label, {oid(database), text(patch)});
}

void log_operation(Oid database, Oid role, std::string_view operation, std::string_view detail)
{
	change_label(database, add_to_log, {oid(database), oid(role), text(operation), text(detail)});
}

std::string to_json(std::string_view plain)
{
	std::string json;
	each("SELECT to_json($1)::text", {text(plain)}, [&](const Row &row) { json = row.text(1); });
	return json;
}

void hold_connections(const std::string &database)
{
	take(Lock::connections, database, AccessExclusiveLock);
}

void await_switch(const char *database)
{
	LOCKTAG tag = tag_of(Lock::connections, database);
	(void) LockAcquire(&tag, AccessShareLock, false, false);
	// What a switch has changed is seen from here on: authentication has left a snapshot of catalogs behind.
	AcceptInvalidationMessages();
	InvalidateCatalogSnapshot();
}

std::vector<Leftover> read_incomplete()
{
	return leftovers(select_incomplete, {});
}

std::vector<Leftover> read_trash(TimestampTz before)
{
	return leftovers(select_trash, {timestamp(before)});
}

std::vector<Leftover> read_excess_spares()
{
	return leftovers(select_excess_spares, {});
}

TimestampTz oldest_trash()
{
	TimestampTz oldest = 0;
	each(select_oldest_trash, {}, [&](const Row &row) { oldest = row.timestamp(1); });
	return oldest;
}

std::vector<MissingSpares> read_missing_spares()
{
	std::vector<MissingSpares> found;
	each(select_missing_spares, {}, [&](const Row &row) { found.push_back({row.oid(1), row.oid(2), row.text(3)}); });
	return found;
}

std::string slots_of(Oid database, Slots which)
{
	return names(which == Slots::all
					 ? "SELECT string_agg(slot_name, ', ' ORDER BY slot_name) FROM pg_catalog.pg_replication_slots "
					   " WHERE datoid = $1"
					 : "SELECT string_agg(slot_name, ', ' ORDER BY slot_name) FROM pg_catalog.pg_replication_slots "
					   " WHERE datoid = $1 AND NOT (plugin = 'pgbraid' AND slot_name LIKE 'pgflow\\_%')",
				 database);
}

std::string subscriptions_of(Oid database)
{
	return names("SELECT string_agg(subname, ', ' ORDER BY subname) FROM pg_catalog.pg_subscription WHERE subdbid = $1",
				 database);
}

} // namespace pgbraid::catalog
