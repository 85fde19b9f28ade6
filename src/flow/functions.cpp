// The parts of the pgflow_* functions that SQL can't say: see extension/20_flow.sql for the rest.
#include "catalog/flows.h"
#include "core/flow/subject.h"
#include "pg/boundary.h"
#include "pg/wal.h"
#include "worker/registry.h"

extern "C" {
#include "access/xlog.h"
#include "catalog/dependency.h"
#include "catalog/objectaddress.h"
#include "catalog/pg_authid_d.h"
#include "catalog/pg_extension_d.h"
#include "catalog/pg_publication.h"
#include "catalog/pg_publication_d.h"
#include "catalog/pg_type_d.h"
#include "commands/dbcommands.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "replication/slot.h"
#include "storage/latch.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/pg_lsn.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"
}

namespace pgbraid::flow {

namespace {

using worker::Entry;
using worker::Lock;

std::string_view text_argument(FunctionCallInfo fcinfo, int argument)
{
	const auto *value = pg::call([&] { return PG_GETARG_TEXT_PP(argument); });
	return {VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value)};
}

Datum text_datum(std::string_view text)
{
	return pg::call([&] { return PointerGetDatum(cstring_to_text_with_len(text.data(), (int) text.size())); });
}

// Where WAL ends now, on disk. What was committed asynchronously counts as committed, so it is flushed.
XLogRecPtr end_of_wal()
{
	XLogRecPtr end = pg::wal_end();
	XLogFlush(end);
	return end;
}

// What somebody waits for: commits up to an LSN, and snapshots up to a number.
struct Awaited {
	int64 flow;
	XLogRecPtr lsn;
	int64 snapshot;
};

bool has_acknowledged(const Awaited &awaited)
{
	Lock lock(Lock::shared);
	Entry *entry = worker::find(worker::Kind::flow, MyDatabaseId, awaited.flow);
	return entry != nullptr && pg_atomic_read_u64(&entry->acknowledged_lsn) >= awaited.lsn &&
		   (int64) pg_atomic_read_u64(&entry->finished_snapshot) >= awaited.snapshot;
}

// The last one that the flow was asked for, as the caller's transaction sees it.
int64 last_snapshot(int64 flow)
{
	SPI_connect();
	Oid type = INT8OID;
	Datum value = Int64GetDatum(flow);
	SPI_execute_with_args("SELECT max(id) FROM pgbraid.flow_snapshots WHERE flow = $1 AND finished_at IS NULL", 1,
						  &type, &value, nullptr, false, 1);
	bool is_null;
	Datum last = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &is_null);
	SPI_finish();
	return is_null ? 0 : DatumGetInt64(last);
}

// Why a wait was in vain, for the warning.
void explain(int64 flow)
{
	char state[32] = "not running";
	worker::Trouble trouble = {};
	{
		Lock lock(Lock::shared);
		Entry *entry = worker::find(worker::Kind::flow, MyDatabaseId, flow);
		if (entry != nullptr) {
			strlcpy(state, worker::name_of(entry->state), sizeof state);
			trouble = worker::trouble_of(*entry);
		}
	}
	// What went wrong may speak of servers, and of values that not everybody may read.
	if (!has_privs_of_role(GetOuterUserId(), ROLE_PG_MONITOR))
		trouble = {};
	ereport(WARNING, (errmsg("the flow has not published everything in time; it is %s", state),
					  trouble.message[0] ? errdetail("%s", trouble.message) : 0,
					  trouble.hint[0] ? errhint("%s", trouble.hint) : 0));
}

// Waits on the flow's condition variable where it has an entry, else on the latch until it gets one.
void sleep_until_progress(int64 flow, long timeout_ms)
{
	Entry *entry;
	{
		Lock lock(Lock::shared);
		entry = worker::find(worker::Kind::flow, MyDatabaseId, flow);
		if (entry != nullptr && entry->latch != nullptr)
			SetLatch(entry->latch);
	}
	if (entry != nullptr) {
		ConditionVariableTimedSleep(&entry->progress, Min(timeout_ms, 100L), PG_WAIT_EXTENSION);
		return;
	}
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, Min(timeout_ms, 20L), PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

bool wait_for(const Awaited &awaited, TimestampTz deadline)
{
	bool done;
	while (!(done = has_acknowledged(awaited))) {
		long left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), deadline);
		if (left <= 0)
			break;
		sleep_until_progress(awaited.flow, left);
	}
	ConditionVariableCancelSleep();
	if (!done)
		explain(awaited.flow);
	return done;
}

// A free slot is checked for when a flow is made: afterwards nobody would see the error at once.
int free_slots()
{
	int free = 0;
	LWLockAcquire(ReplicationSlotControlLock, LW_SHARED);
	for (int i = 0; i < max_replication_slots; i++)
		free += ReplicationSlotCtl->replication_slots[i].in_use ? 0 : 1;
	LWLockRelease(ReplicationSlotControlLock);
	return free;
}

[[noreturn]] void refuse(const char *sqlstate, const char *message, const char *hint)
{
	throw pg::Failure({.sqlstate = sqlstate, .message = message, .detail = {}, .hint = hint});
}

} // namespace

} // namespace pgbraid::flow

using namespace pgbraid;

PGBRAID_FUNCTION(pgbraid_require_logical)
{
	worker::require_preload();
	if (wal_level < WAL_LEVEL_LOGICAL)
		flow::refuse("55000", "flows need wal_level logical",
					 "Set wal_level = logical in postgresql.conf and restart the server.");
	if (pg::call([] { return RecoveryInProgress(); }))
		flow::refuse("25006", "flows can't be changed on a standby", "Connect to the primary.");
	if (pg::call([] { return flow::free_slots(); }) == 0)
		flow::refuse("53400", "no replication slot is free",
					 "Increase max_replication_slots in postgresql.conf and restart the server, or drop a slot.");
	PG_RETURN_VOID();
}

PGBRAID_FUNCTION(pgbraid_check_subject)
{
	using core::SubjectKind;
	std::string_view kind = flow::text_argument(fcinfo, 1);
	(void) pg::take(
		core::SubjectTemplate::parse(flow::text_argument(fcinfo, 0), kind == "message"		 ? SubjectKind::message
																	 : kind == "transaction" ? SubjectKind::transaction
																							 : SubjectKind::row));
	PG_RETURN_VOID();
}

PGBRAID_FUNCTION(pgbraid_check_stream)
{
	(void) pg::take(core::check_stream_name(flow::text_argument(fcinfo, 0)));
	PG_RETURN_VOID();
}

PGBRAID_FUNCTION(pgbraid_default_stream)
{
	const char *database = pg::call([] { return get_database_name(MyDatabaseId); });
	return flow::text_datum(core::default_stream_name(database, NameStr(*PG_GETARG_NAME(0))));
}

// pg_dump does not know of this dependency; a restored publication stays when the extension goes.
PGBRAID_FUNCTION(pgbraid_depend_on_extension)
{
	pg::call([&] {
		Oid publication = get_publication_oid(NameStr(*PG_GETARG_NAME(0)), false);
		ObjectAddress dependent, extension;
		ObjectAddressSet(dependent, PublicationRelationId, publication);
		ObjectAddressSet(extension, ExtensionRelationId, get_extension_oid("pgbraid", false));
		recordDependencyOn(&dependent, &extension, DEPENDENCY_AUTO);
	});
	PG_RETURN_VOID();
}

PGBRAID_FUNCTION(pgbraid_slot_name)
{
	std::string name = catalog::slot_name(PG_GETARG_INT64(0));
	return pg::call([&] { return DirectFunctionCall1(namein, CStringGetDatum(name.c_str())); });
}

// wait(flow id, upto or null, timeout)
PGBRAID_FUNCTION(pgbraid_wait)
{
	worker::require_preload();
	if (PG_ARGISNULL(0) || PG_ARGISNULL(2))
		flow::refuse("22004", "neither the flow nor the timeout can be null", "Leave the timeout out for one minute.");
	if (pg::call([] { return RecoveryInProgress(); }))
		flow::refuse("25006", "flows don't run on a standby", "Connect to the primary.");
	return pg::call([&] {
		Interval *timeout = PG_GETARG_INTERVAL_P(2);
		TimestampTz deadline = DatumGetTimestampTz(DirectFunctionCall2(
			timestamptz_pl_interval, TimestampTzGetDatum(GetCurrentTimestamp()), IntervalPGetDatum(timeout)));
		flow::Awaited awaited = {PG_GETARG_INT64(0), PG_ARGISNULL(1) ? flow::end_of_wal() : PG_GETARG_LSN(1),
								 flow::last_snapshot(PG_GETARG_INT64(0))};
		return BoolGetDatum(flow::wait_for(awaited, deadline));
	});
}
