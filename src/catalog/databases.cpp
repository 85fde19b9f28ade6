#include "catalog/databases.h"

#include "pg/compat.h"
#include "pg/spi.h"

extern "C" {
#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/catalog.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/pg_database.h"
#include "catalog/pg_db_role_setting.h"
#include "catalog/pg_tablespace.h"
#include "commands/comment.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/syscache.h"
}

#include <sys/stat.h>

namespace pgbraid::catalog {

namespace {

// The columns of a row that are to be others.
class Change {
public:
	explicit Change(Relation table) : table_(table) {}
	void set(int column, Datum value)
	{
		values_[column - 1] = value;
		replaces_[column - 1] = true;
	}
	HeapTuple apply(HeapTuple row)
	{
		return heap_modify_tuple(row, RelationGetDescr(table_), values_, nulls_, replaces_);
	}

private:
	Relation table_;
	Datum values_[Natts_pg_database] = {};
	bool nulls_[Natts_pg_database] = {}, replaces_[Natts_pg_database] = {};
};

Form_pg_database form(HeapTuple row)
{
	return reinterpret_cast<Form_pg_database>(GETSTRUCT(row));
}

HeapTuple read_row(Oid database)
{
	HeapTuple row = SearchSysCacheCopy1(DATABASEOID, ObjectIdGetDatum(database));
	if (!HeapTupleIsValid(row))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_DATABASE), errmsg("database with OID %u is gone", database)));
	return row;
}

void update_row(Relation table, Oid database, Change &change)
{
	HeapTuple row = pg::lock_and_copy_tuple(DATABASEOID, database);
	if (!HeapTupleIsValid(row))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_DATABASE), errmsg("database with OID %u is gone", database)));
	ItemPointerData place = row->t_self;
	CatalogTupleUpdate(table, &place, change.apply(row));
	pg::unlock_tuple(table, &place);
	CommandCounterIncrement();
}

// In any tablespace: what a crash has left there, say.
bool has_files(Oid database)
{
	bool found = false;
	Relation table = table_open(TableSpaceRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(table, InvalidOid, false, nullptr, 0, nullptr);
	while (HeapTuple row = systable_getnext(scan)) {
		Oid tablespace = reinterpret_cast<Form_pg_tablespace>(GETSTRUCT(row))->oid;
		struct stat status;
		if (tablespace != GLOBALTABLESPACE_OID && stat(GetDatabasePath(database, tablespace), &status) == 0)
			found = true;
	}
	systable_endscan(scan);
	table_close(table, AccessShareLock);
	return found;
}

Oid new_oid(Relation table)
{
	Oid oid;
	do
		oid = GetNewOidWithIndex(table, DatabaseOidIndexId, Anum_pg_database_oid);
	while (has_files(oid));
	return oid;
}

void note_privileges(Oid database, HeapTuple row, Relation table)
{
	bool is_null;
	Datum privileges = heap_getattr(row, Anum_pg_database_datacl, RelationGetDescr(table), &is_null);
	if (is_null)
		return;
	Oid *members;
	int count = aclmembers(DatumGetAclP(privileges), &members);
	updateAclDependencies(DatabaseRelationId, database, 0, form(row)->datdba, 0, nullptr, count, members);
}

// ALTER DATABASE SET, and ALTER ROLE IN DATABASE SET.
void copy_settings(Oid source, Oid copy)
{
	Relation table = table_open(DbRoleSettingRelationId, RowExclusiveLock);
	ScanKeyData key;
	ScanKeyInit(&key, Anum_pg_db_role_setting_setdatabase, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(source));
	SysScanDesc scan = systable_beginscan(table, DbRoleSettingDatidRolidIndexId, true, nullptr, 1, &key);
	while (HeapTuple row = systable_getnext(scan)) {
		Datum values[Natts_pg_db_role_setting] = {};
		bool nulls[Natts_pg_db_role_setting] = {}, replaces[Natts_pg_db_role_setting] = {};
		values[Anum_pg_db_role_setting_setdatabase - 1] = ObjectIdGetDatum(copy);
		replaces[Anum_pg_db_role_setting_setdatabase - 1] = true;
		CatalogTupleInsert(table, heap_modify_tuple(row, RelationGetDescr(table), values, nulls, replaces));
	}
	systable_endscan(scan);
	table_close(table, RowExclusiveLock);
}

void copy_comment(Oid source, Oid copy)
{
	std::string comment;
	pg::spi::each("SELECT pg_catalog.shobj_description($1, 'pg_database')", {pg::spi::oid(source)},
				  [&](const pg::spi::Row &row) { comment = row.text(1); });
	if (!comment.empty())
		pg::call([&] { CreateSharedComments(copy, DatabaseRelationId, comment.c_str()); });
}

} // namespace

Oid insert_database(Oid source, const std::string &name)
{
	return pg::call([&] {
		Relation table = table_open(DatabaseRelationId, RowExclusiveLock);
		HeapTuple row = read_row(source);
		NameData as_name;
		namestrcpy(&as_name, name.c_str());
		Oid copy = new_oid(table);
		Change change(table);
		change.set(Anum_pg_database_oid, ObjectIdGetDatum(copy));
		change.set(Anum_pg_database_datname, NameGetDatum(&as_name));
		change.set(Anum_pg_database_datistemplate, BoolGetDatum(false));
		change.set(Anum_pg_database_datallowconn, BoolGetDatum(false));
		change.set(Anum_pg_database_datconnlimit, Int32GetDatum(DATCONNLIMIT_INVALID_DB));
		HeapTuple made = change.apply(row);
		CatalogTupleInsert(table, made);
		recordDependencyOnOwner(DatabaseRelationId, copy, form(row)->datdba);
		note_privileges(copy, made, table);
		table_close(table, NoLock);
		CommandCounterIncrement();
		return copy;
	});
}

void complete_database(Oid copy, Oid source, bool sealed)
{
	pg::call([&] {
		Relation table = table_open(DatabaseRelationId, RowExclusiveLock);
		HeapTuple row = pg::lock_and_copy_tuple(DATABASEOID, copy);
		if (!HeapTupleIsValid(row))
			ereport(ERROR, (errcode(ERRCODE_UNDEFINED_DATABASE), errmsg("database with OID %u is gone", copy)));
		HeapTuple as_source = read_row(source);
		NameData name = form(row)->datname;
		Change change(table);
		change.set(Anum_pg_database_oid, ObjectIdGetDatum(copy));
		change.set(Anum_pg_database_datname, NameGetDatum(&name));
		change.set(Anum_pg_database_datistemplate, BoolGetDatum(sealed));
		change.set(Anum_pg_database_datallowconn, BoolGetDatum(!sealed));
		ItemPointerData place = row->t_self;
		CatalogTupleUpdate(table, &place, change.apply(as_source));
		pg::unlock_tuple(table, &place);
		// Owner and privileges may be others than when the row was made.
		deleteSharedDependencyRecordsFor(DatabaseRelationId, copy, 0);
		recordDependencyOnOwner(DatabaseRelationId, copy, form(as_source)->datdba);
		note_privileges(copy, as_source, table);
		copyTemplateDependencies(source, copy);
		copy_settings(source, copy);
		table_close(table, NoLock);
		CommandCounterIncrement();
		ForceSyncCommit();
	});
	copy_comment(source, copy);
}

void rename_database(Oid database, const std::string &name)
{
	lock_database(database);
	pg::call([&] {
		Relation table = table_open(DatabaseRelationId, RowExclusiveLock);
		NameData as_name;
		namestrcpy(&as_name, name.c_str());
		Change change(table);
		change.set(Anum_pg_database_datname, NameGetDatum(&as_name));
		update_row(table, database, change);
		table_close(table, NoLock);
	});
}

void set_access(Oid database, Access access)
{
	lock_database(database);
	pg::call([&] {
		Relation table = table_open(DatabaseRelationId, RowExclusiveLock);
		Change change(table);
		change.set(Anum_pg_database_datallowconn, BoolGetDatum(access == Access::open));
		change.set(Anum_pg_database_datistemplate, BoolGetDatum(access == Access::sealed));
		update_row(table, database, change);
		table_close(table, NoLock);
	});
}

void hold_database(Oid database)
{
	pg::call([&] {
		LockSharedObject(DatabaseRelationId, database, 0, AccessShareLock);
		heap_freetuple(read_row(database));
	});
}

void lock_database(Oid database)
{
	pg::call([&] { LockSharedObject(DatabaseRelationId, database, 0, AccessExclusiveLock); });
}

} // namespace pgbraid::catalog
