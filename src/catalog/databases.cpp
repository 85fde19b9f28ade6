#include "catalog/databases.h"

#include "pg/compat.h"

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
#include "catalog/pg_shdescription.h"
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

bool has_files(Oid database, Oid tablespace)
{
	char *path = GetDatabasePath(database, tablespace);
	struct stat status;
	bool found = stat(path, &status) == 0;
	pfree(path);
	return found;
}

Oid new_oid(Relation table, Oid tablespace)
{
	Oid oid;
	do
		oid = GetNewOidWithIndex(table, DatabaseOidIndexId, Anum_pg_database_oid);
	while (has_files(oid, tablespace));
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
	Relation table = table_open(SharedDescriptionRelationId, AccessShareLock);
	ScanKeyData keys[2];
	ScanKeyInit(&keys[0], Anum_pg_shdescription_objoid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(source));
	ScanKeyInit(&keys[1], Anum_pg_shdescription_classoid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(DatabaseRelationId));
	SysScanDesc scan = systable_beginscan(table, SharedDescriptionObjIndexId, true, nullptr, 2, keys);
	char *comment = nullptr;
	if (HeapTuple row = systable_getnext(scan)) {
		bool is_null;
		Datum found = heap_getattr(row, Anum_pg_shdescription_description, RelationGetDescr(table), &is_null);
		comment = is_null ? nullptr : TextDatumGetCString(found);
	}
	systable_endscan(scan);
	table_close(table, AccessShareLock);
	if (comment)
		CreateSharedComments(copy, DatabaseRelationId, comment);
}

void set_access(Oid database, bool is_open, bool is_template)
{
	lock_database(database);
	pg::call([&] {
		Relation table = table_open(DatabaseRelationId, RowExclusiveLock);
		Change change(table);
		change.set(Anum_pg_database_datallowconn, BoolGetDatum(is_open));
		change.set(Anum_pg_database_datistemplate, BoolGetDatum(is_template));
		update_row(table, database, change);
		table_close(table, NoLock);
	});
}

} // namespace

Oid insert_database(Oid source, const std::string &name)
{
	return pg::call([&] {
		Relation table = table_open(DatabaseRelationId, RowExclusiveLock);
		HeapTuple row = read_row(source);
		NameData as_name;
		namestrcpy(&as_name, name.c_str());
		Oid copy = new_oid(table, form(row)->dattablespace);
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
		copy_comment(source, copy);
		table_close(table, NoLock);
		CommandCounterIncrement();
		ForceSyncCommit();
	});
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

void open_database(Oid database, bool open)
{
	set_access(database, open, false);
}

void seal_database(Oid database)
{
	set_access(database, false, true);
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
