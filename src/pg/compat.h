// What differs between PostgreSQL 15, 16, 17 and 18: the only place that asks for the version.
#pragma once
#include "pg/prelude.h"

extern "C" {
#include "access/genam.h"
#include "access/heapam_xlog.h"
#include "access/htup_details.h"
#include "access/xlogreader.h"
#include "catalog/pg_database.h"
#include "catalog/pg_publication.h"
#include "common/relpath.h"
#include "nodes/nodeFuncs.h"
#include "postmaster/bgworker.h"
#include "postmaster/bgwriter.h"
#include "replication/reorderbuffer.h"
#include "replication/slot.h"
#include "replication/syncrep.h"
#include "replication/walsender_private.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "storage/shm_mq.h"
#include "storage/smgr.h"
#if PG_VERSION_NUM >= 180000
#include "storage/waiteventset.h"
#endif
#include "tcop/pquery.h"
#include "utils/acl.h"
#include "utils/memutils.h"
#include "utils/relmapper.h"
#include "utils/syscache.h"
#include "utils/wait_event.h"
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif
}

#ifndef DATCONNLIMIT_INVALID_DB // before 15.4: of a database whose DROP was interrupted
#define DATCONNLIMIT_INVALID_DB -2
#endif

namespace pgbraid::pg {

#if PG_VERSION_NUM >= 170000
inline HeapTuple tuple(HeapTuple change)
{
	return change;
}
#else
inline HeapTuple tuple(ReorderBufferTupleBuf *change)
{
	return change ? &change->tuple : nullptr;
}
#endif

#if PG_VERSION_NUM < 170000
inline void refuse_failover(bool failover)
{
	if (failover)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("replication slots can't be synchronized to standbys before PostgreSQL 17"),
						errhint("Set the option \"failover\" to false.")));
}
#endif

// `failover`: standbys keep a copy of it.
inline void create_ephemeral_slot(const char *name, bool failover)
{
#if PG_VERSION_NUM >= 170000
	ReplicationSlotCreate(name, true, RS_EPHEMERAL, false, failover, false);
#else
	refuse_failover(failover);
	ReplicationSlotCreate(name, true, RS_EPHEMERAL, false);
#endif
}

// Waits until nobody else uses the slot.
inline void set_slot_failover([[maybe_unused]] const char *name, bool failover)
{
#if PG_VERSION_NUM >= 180000
	ReplicationSlotAlter(name, &failover, nullptr);
#elif PG_VERSION_NUM >= 170000
	ReplicationSlotAlter(name, failover);
#else
	refuse_failover(failover);
#endif
}

// PostgreSQL 15 takes the restart_lsn away.
inline bool is_invalidated([[maybe_unused]] const ReplicationSlot &slot)
{
#if PG_VERSION_NUM >= 160000
	return slot.data.invalidated != RS_INVAL_NONE;
#else
	return false;
#endif
}

// The setting synchronized_standby_slots, where there is one.
inline const char *standby_slots_setting()
{
#if PG_VERSION_NUM >= 170000
	return synchronized_standby_slots;
#else
	return nullptr;
#endif
}

inline void acquire_slot(const char *name)
{
#if PG_VERSION_NUM >= 180000
	ReplicationSlotAcquire(name, true, true);
#else
	ReplicationSlotAcquire(name, true);
#endif
}

inline WaitEventSet *create_wait_event_set(int events)
{
#if PG_VERSION_NUM >= 170000
	return CreateWaitEventSet(nullptr, events);
#else
	return CreateWaitEventSet(TopMemoryContext, events);
#endif
}

// Before PostgreSQL 18 a publication can't say it, and generated columns stay in.
inline bool publishes_generated_columns([[maybe_unused]] const Publication *publication)
{
#if PG_VERSION_NUM >= 180000
	return publication->pubgencols_type == PUBLISH_GENCOLS_STORED;
#else
	return false;
#endif
}

inline bool has_synchronous_standbys()
{
#ifdef SYNC_STANDBY_DEFINED // since 15.13, 16.9, 17.5
	return (WalSndCtl->sync_standbys_status & SYNC_STANDBY_DEFINED) != 0;
#else
	return WalSndCtl->sync_standbys_defined;
#endif
}

inline IndexScanDesc begin_index_scan(Relation table, Relation index, Snapshot snapshot, int keys)
{
#if PG_VERSION_NUM >= 180000
	return index_beginscan(table, index, snapshot, nullptr, keys, 0);
#else
	return index_beginscan(table, index, snapshot, keys, 0);
#endif
}

inline bool walk_expression(Node *node, bool (*walker)(Node *, void *), void *context)
{
#if PG_VERSION_NUM >= 160000
	return expression_tree_walker(node, walker, context);
#else
	return expression_tree_walker(node, reinterpret_cast<bool (*)()>(reinterpret_cast<void (*)()>(walker)), context);
#endif
}

// As a statement that a client has sent.
inline void run_portal(Portal portal, DestReceiver *destination, QueryCompletion *completion)
{
#if PG_VERSION_NUM >= 180000
	(void) PortalRun(portal, FETCH_ALL, true, destination, destination, completion);
#else
	(void) PortalRun(portal, FETCH_ALL, true, true, destination, destination, completion);
#endif
}

// Could it SET ROLE to the other?
inline bool may_act_as(Oid member, Oid role)
{
#if PG_VERSION_NUM >= 160000
	return member_can_set_role(member, role);
#else
	return is_member_of_role(member, role);
#endif
}

// Before PostgreSQL 17 the role must have the right to log in.
inline void connect_as(Oid database, Oid role)
{
#ifdef BGWORKER_BYPASS_ROLELOGINCHECK
	BackgroundWorkerInitializeConnectionByOid(database, role, BGWORKER_BYPASS_ROLELOGINCHECK);
#else
	BackgroundWorkerInitializeConnectionByOid(database, role, 0);
#endif
}

// A wait event that pg_stat_activity shows; named where PostgreSQL lets extensions name theirs.
inline uint32 wait_event([[maybe_unused]] const char *name)
{
#if PG_VERSION_NUM >= 170000
	return WaitEventExtensionNew(name);
#else
	return PG_WAIT_EXTENSION;
#endif
}

// The files of a relation: RelFileLocator, which PostgreSQL 15 calls RelFileNode.
#if PG_VERSION_NUM >= 160000
using Locator = RelFileLocator;
inline Oid file_of_mapped(Oid relation)
{
	return RelationMapOidToFilenumber(relation, false);
}
#else
using Locator = RelFileNode;
inline Oid file_of_mapped(Oid relation)
{
	return RelationMapOidToFilenode(relation, false);
}
#endif

inline Locator locator(Oid tablespace, Oid database, Oid file)
{
	Locator made;
#if PG_VERSION_NUM >= 160000
	made.spcOid = tablespace;
	made.dbOid = database;
	made.relNumber = file;
#else
	made.spcNode = tablespace;
	made.dbNode = database;
	made.relNode = file;
#endif
	return made;
}

inline Locator in_database(Locator files, Oid database)
{
#if PG_VERSION_NUM >= 160000
	files.dbOid = database;
#else
	files.dbNode = database;
#endif
	return files;
}

inline Oid tablespace_of(const Locator &files)
{
#if PG_VERSION_NUM >= 160000
	return files.spcOid;
#else
	return files.spcNode;
#endif
}

// Of the first file of the fork, below the data directory.
inline void relation_path(const Locator &files, ForkNumber fork, char (&path)[MAXPGPATH])
{
#if PG_VERSION_NUM >= 180000
	strlcpy(path, relpathperm(files, fork).str, sizeof path);
#else
	char *made = relpathperm(files, fork);
	strlcpy(path, made, sizeof path);
	pfree(made);
#endif
}

// Begins after the call, and has ended when it returns.
inline void checkpoint_now()
{
#if PG_VERSION_NUM >= 190000
	RequestCheckpoint(CHECKPOINT_FAST | CHECKPOINT_FORCE | CHECKPOINT_WAIT);
#else
	RequestCheckpoint(CHECKPOINT_IMMEDIATE | CHECKPOINT_FORCE | CHECKPOINT_WAIT);
#endif
}

inline SMgrRelation open_files(const Locator &locator)
{
#if PG_VERSION_NUM >= 170000
	return smgropen(locator, INVALID_PROC_NUMBER);
#else
	return smgropen(locator, InvalidBackendId);
#endif
}

#if PG_VERSION_NUM >= 170000
constexpr uint8 pruned_on_access = XLOG_HEAP2_PRUNE_ON_ACCESS;
#else
constexpr uint8 pruned_on_access = XLOG_HEAP2_PRUNE;
#endif

// Of a record that creates or truncates files.
template <typename Record>
Oid database_of(const Record *record)
{
#if PG_VERSION_NUM >= 160000
	return record->rlocator.dbOid;
#else
	return record->rnode.dbNode;
#endif
}

inline Oid database_of_files(const Locator &files)
{
#if PG_VERSION_NUM >= 160000
	return files.dbOid;
#else
	return files.dbNode;
#endif
}

inline Oid database_of_block(XLogReaderState *record, int block)
{
	Locator files;
	ForkNumber fork;
	BlockNumber number;
	XLogRecGetBlockTag(record, (uint8) block, &files, &fork, &number);
	return database_of_files(files);
}

// For who changes the row, and the other way round: in-place updates of it are kept out in between.
inline HeapTuple lock_and_copy_tuple(int cache, Oid key)
{
#ifdef InplaceUpdateTupleLock // since 15.9, 16.5, 17.1
	return SearchSysCacheLockedCopy1(cache, ObjectIdGetDatum(key));
#else
	return SearchSysCacheCopy1(cache, ObjectIdGetDatum(key));
#endif
}

inline void unlock_tuple([[maybe_unused]] Relation relation, [[maybe_unused]] ItemPointer tuple)
{
#ifdef InplaceUpdateTupleLock
	UnlockTuple(relation, tuple, InplaceUpdateTupleLock);
#endif
}

inline bool owns_database(Oid database, Oid role)
{
#if PG_VERSION_NUM >= 160000
	return object_ownercheck(DatabaseRelationId, database, role);
#else
	return pg_database_ownercheck(database, role);
#endif
}

} // namespace pgbraid::pg
