#include "catalog/branches.h"

#include "pg/compat.h"
#include "pg/json.h"
#include "pg/spi.h"

extern "C" {
#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/objectaddress.h"
#include "catalog/pg_database.h"
#include "catalog/pg_subscription.h"
#include "commands/seclabel.h"
#include "common/hashfn.h"
#include "replication/slot.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "utils/fmgrprotos.h"
#include "utils/inval.h"
#include "utils/snapmgr.h"
}

#include <algorithm>
#include <optional>

namespace pgbraid::catalog {

namespace {

using namespace pg::spi;

constexpr char provider[] = "pgbraid";
constexpr int longest_log = 100; // entries

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

Kind kind_of(std::string_view name)
{
	return core::branch::kind_named(name).value_or(Kind::branch);
}

TimestampTz moment_in(const std::string &text)
{
	if (text.empty())
		return 0;
	return pg::call([&] {
		return DatumGetTimestampTz(DirectFunctionCall3(timestamptz_in, CStringGetDatum(text.c_str()),
													   ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
	});
}

std::optional<std::string> read_label(Oid database)
{
	const char *label = pg::call([&] {
		ObjectAddress address;
		ObjectAddressSet(address, DatabaseRelationId, database);
		return GetSecurityLabel(&address, provider);
	});
	return label ? std::optional<std::string>(label) : std::nullopt;
}

// A database as a member of its family.
struct Database {
	Member member;
	std::string family;
};

Database unlabelled(const FormData_pg_database &row)
{
	Database database{{}, NameStr(row.datname)};
	database.member.oid = row.oid;
	database.member.database = NameStr(row.datname);
	database.member.name = "main";
	database.member.is_invalid = row.datconnlimit == DATCONNLIMIT_INVALID_DB;
	database.member.is_checked_out = true;
	return database;
}

void describe_trash(Member &member, const pg::JsonObject &trashed)
{
	member.trashed_by = trashed.text("by");
	member.was = kind_of(trashed.text("was"));
	member.trashed_at = moment_in(trashed.text("at"));
}

void describe(Database &database, const pg::JsonObject &label)
{
	Member &member = database.member;
	database.family = label.text("family");
	member.is_labelled = true;
	member.is_checked_out = member.database == database.family;
	member.name = label.text("name");
	member.kind = kind_of(label.text("kind"));
	member.parent = label.text("parent");
	member.parent_kind = kind_of(label.text("parent_kind"));
	member.parent_oid = (Oid) label.integer("parent_oid");
	member.is_first = label.boolean("first");
	member.is_protected = label.boolean("protected");
	member.is_copying = member.is_invalid && label.text("state") == "copying";
	member.description = label.text("description");
	if (auto trashed = label.object("trashed"))
		describe_trash(member, *trashed);
}

std::vector<FormData_pg_database> read_rows()
{
	std::vector<FormData_pg_database> rows;
	Relation table = pg::call([] { return table_open(DatabaseRelationId, AccessShareLock); });
	SysScanDesc scan =
		pg::call([&] { return systable_beginscan(table, DatabaseOidIndexId, true, nullptr, 0, nullptr); });
	while (HeapTuple row = pg::call([&] { return systable_getnext(scan); }))
		rows.push_back(*reinterpret_cast<Form_pg_database>(GETSTRUCT(row)));
	pg::call([&] {
		systable_endscan(scan);
		table_close(table, AccessShareLock);
	});
	return rows;
}

std::vector<Database> read_databases()
{
	std::vector<Database> found;
	for (const FormData_pg_database &row : read_rows()) {
		Database database = unlabelled(row);
		if (auto label = read_label(row.oid))
			describe(database, pg::JsonObject::parse(*label));
		found.push_back(std::move(database));
	}
	return found;
}

std::string family_name(const std::vector<Database> &databases, Oid oid)
{
	for (const Database &database : databases)
		if (database.member.oid == oid)
			return database.family;
	throw pg::Failure({.sqlstate = "3D000", .message = "the database is gone"});
}

// A database without a label that has been given the family's name is none of it.
Family family_of(const std::vector<Database> &databases, std::string name)
{
	Family family{std::move(name), {}};
	auto belongs = [&](const Database &database) { return database.family == family.name; };
	bool has_labels = std::any_of(databases.begin(), databases.end(), [&](const Database &database) {
		return belongs(database) && database.member.is_labelled;
	});
	for (const Database &database : databases)
		if (belongs(database) && (database.member.is_labelled || !has_labels))
			family.members.push_back(database.member);
	return family;
}

void set_label(Oid database, const std::string &label)
{
	pg::call([&] {
		ObjectAddress address;
		ObjectAddressSet(address, DatabaseRelationId, database);
		SetSecurityLabel(&address, provider, label.c_str());
		CommandCounterIncrement();
	});
}

// One at a time: what somebody else has made of it is read again.
void lock_label(Oid database)
{
	LOCKTAG tag;
	SET_LOCKTAG_OBJECT(tag, InvalidOid, DatabaseRelationId, database, static_cast<uint16>(Lock::label));
	pg::call([&] { (void) LockAcquire(&tag, ExclusiveLock, false, false); });
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
	std::string name = family_name(read_databases(), database);
	take(Lock::family, name, ExclusiveLock);
	return family_of(read_databases(), std::move(name)); // as it is by now
}

Family read_family(Oid database)
{
	auto databases = read_databases();
	return family_of(databases, family_name(databases, database));
}

std::string name_of_database(Oid database)
{
	return names("SELECT datname FROM pg_catalog.pg_database WHERE oid = $1", database);
}

void label(Oid database, const std::string &patch)
{
	lock_label(database);
	set_label(database, pg::merge_json(read_label(database).value_or("{}"), patch));
}

void log_operation(Oid database, const std::string &entry)
{
	lock_label(database);
	const std::string present = read_label(database).value_or("{}");
	std::string entries = pg::append_to_json(pg::JsonObject::parse(present).array("log"), entry, longest_log);
	set_label(database, pg::merge_json(present, "{\"log\": " + entries + "}"));
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
	int count, active;
	if (!pg::call([&] { return ReplicationSlotsCountDBSlots(database, &count, &active); }))
		return {}; // the query takes milliseconds of a checkout
	return names(which == Slots::all
					 ? "SELECT string_agg(slot_name, ', ' ORDER BY slot_name) FROM pg_catalog.pg_replication_slots "
					   " WHERE datoid = $1"
					 : "SELECT string_agg(slot_name, ', ' ORDER BY slot_name) FROM pg_catalog.pg_replication_slots "
					   " WHERE datoid = $1 AND NOT (plugin = 'pgbraid' AND slot_name LIKE 'pgflow\\_%')",
				 database);
}

std::string subscriptions_of(Oid database)
{
	if (pg::call([&] { return CountDBSubscriptions(database); }) == 0)
		return {};
	return names("SELECT string_agg(subname, ', ' ORDER BY subname) FROM pg_catalog.pg_subscription WHERE subdbid = $1",
				 database);
}

} // namespace pgbraid::catalog
