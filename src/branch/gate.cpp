#include "branch/gate.h"

#include "pg/compat.h"

extern "C" {
#include "access/xact.h"
#include "access/xlog.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/condition_variable.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "tcop/utility.h"
#include "utils/timestamp.h"
}

namespace pgbraid::branch {

namespace {

constexpr int most_closed = 16;
constexpr size_t cache_line = 64;

struct alignas(cache_line) Slot {
	pg_atomic_uint32 database; // that the transaction of this backend writes to, or 0
};

struct Gates {
	alignas(cache_line) pg_atomic_uint32 closed_count;
	pg_atomic_uint32 closed[most_closed]; // databases, or 0
	pg_atomic_uint32 sealed[most_closed]; // the same one, when those who had begun have ended
	ConditionVariable opened, drained;
	Slot slots[FLEXIBLE_ARRAY_MEMBER]; // by number of the process in ProcGlobal->allProcs
};

Gates *gates = nullptr;
bool is_inside = false; // this transaction has its slot set
bool is_exempt = false;
Oid closed_by_us = InvalidOid;
bool is_sealed_by_us = false;

shmem_request_hook_type next_request = nullptr;
shmem_startup_hook_type next_startup = nullptr;
ExecutorStart_hook_type next_start = nullptr;
ProcessUtility_hook_type next_utility = nullptr;

int slot_count()
{
	return MaxBackends + NUM_AUXILIARY_PROCS;
}

Size gates_size()
{
	return add_size(offsetof(Gates, slots), mul_size(sizeof(Slot), (Size) slot_count())) + cache_line;
}

void request()
{
	if (next_request)
		next_request();
	RequestAddinShmemSpace(gates_size());
}

void startup()
{
	if (next_startup)
		next_startup();
	bool found;
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	void *memory = ShmemInitStruct("pgbraid gates", gates_size(), &found);
	gates = reinterpret_cast<Gates *>(TYPEALIGN(cache_line, memory));
	if (!found) {
		pg_atomic_init_u32(&gates->closed_count, 0);
		for (pg_atomic_uint32 &closed : gates->closed)
			pg_atomic_init_u32(&closed, InvalidOid);
		for (pg_atomic_uint32 &sealed : gates->sealed)
			pg_atomic_init_u32(&sealed, InvalidOid);
		ConditionVariableInit(&gates->opened);
		ConditionVariableInit(&gates->drained);
		for (int i = 0; i < slot_count(); i++)
			pg_atomic_init_u32(&gates->slots[i].database, InvalidOid);
	}
	LWLockRelease(AddinShmemInitLock);
}

Slot &own_slot()
{
	return gates->slots[MyProc - ProcGlobal->allProcs];
}

bool contains(pg_atomic_uint32 (&databases)[most_closed], Oid database)
{
	for (pg_atomic_uint32 &one : databases)
		if (pg_atomic_read_u32(&one) == database)
			return true;
	return false;
}

bool is_closed(Oid database)
{
	return contains(gates->closed, database);
}

void leave()
{
	if (!is_inside)
		return;
	is_inside = false;
	pg_atomic_write_u32(&own_slot().database, InvalidOid);
	pg_memory_barrier();
	if (pg_atomic_read_u32(&gates->closed_count) != 0)
		ConditionVariableBroadcast(&gates->drained);
}

// A transaction that has written in a way that no hook sees is waited for, until the gate is sealed.
bool must_wait()
{
	return pg_atomic_read_u32(&gates->closed_count) != 0 && is_closed(MyDatabaseId) &&
		   (!TransactionIdIsValid(GetTopTransactionIdIfAny()) || contains(gates->sealed, MyDatabaseId));
}

void take_slot()
{
	is_inside = true;
	pg_atomic_write_u32(&own_slot().database, MyDatabaseId);
	pg_memory_barrier();
}

pg_noinline void wait_until_open()
{
	static uint32 wait_event = 0;
	if (wait_event == 0)
		wait_event = pg::wait_event("PgbraidWriteGate");
	while (must_wait()) {
		leave();
		ConditionVariablePrepareToSleep(&gates->opened);
		while (is_closed(MyDatabaseId))
			ConditionVariableSleep(&gates->opened, wait_event);
		ConditionVariableCancelSleep();
		take_slot();
	}
}

inline void enter()
{
	if (is_inside || is_exempt || gates == nullptr || !OidIsValid(MyDatabaseId) || RecoveryInProgress())
		return;
	take_slot();
	if (pg_atomic_read_u32(&gates->closed_count) != 0)
		wait_until_open();
}

void at_start_of_query(QueryDesc *query, int flags)
{
	bool writes =
		query->operation != CMD_SELECT || query->plannedstmt->rowMarks != NIL || query->plannedstmt->hasModifyingCTE;
	if (writes && (flags & EXEC_FLAG_EXPLAIN_ONLY) == 0)
		enter();
	(next_start ? next_start : standard_ExecutorStart)(query, flags);
}

// What PostgreSQL logs as DDL or as a change of data. What else a statement does, it does by queries of its own, or
// under locks on tables.
void at_utility(PlannedStmt *statement, const char *query, bool read_only, ProcessUtilityContext context,
				ParamListInfo parameters, QueryEnvironment *environment, DestReceiver *destination,
				QueryCompletion *completion)
{
	if (GetCommandLogLevel(statement->utilityStmt) != LOGSTMT_ALL)
		enter();
	(next_utility ? next_utility : standard_ProcessUtility)(statement, query, read_only, context, parameters,
															environment, destination, completion);
}

void at_end_of_transaction(XactEvent event, void *)
{
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
		leave();
}

// Of the several that may be closed for a database, one.
bool remove(pg_atomic_uint32 (&databases)[most_closed], Oid database)
{
	for (pg_atomic_uint32 &one : databases) {
		uint32 expected = database;
		if (pg_atomic_compare_exchange_u32(&one, &expected, InvalidOid))
			return true;
	}
	return false;
}

bool add(pg_atomic_uint32 (&databases)[most_closed], Oid database)
{
	for (pg_atomic_uint32 &one : databases) {
		uint32 expected = InvalidOid;
		if (pg_atomic_compare_exchange_u32(&one, &expected, database))
			return true;
	}
	return false;
}

void open(Oid database)
{
	if (is_sealed_by_us)
		(void) remove(gates->sealed, database);
	is_sealed_by_us = false;
	if (remove(gates->closed, database))
		pg_atomic_fetch_sub_u32(&gates->closed_count, 1);
	ConditionVariableBroadcast(&gates->opened);
}

void open_at_exit(int, Datum)
{
	if (OidIsValid(closed_by_us))
		open(closed_by_us);
	closed_by_us = InvalidOid;
}

bool close(Oid database)
{
	static bool is_first = true;
	if (is_first)
		before_shmem_exit(open_at_exit, 0);
	is_first = false;
	if (!add(gates->closed, database))
		return false;
	closed_by_us = database;
	pg_atomic_fetch_add_u32(&gates->closed_count, 1);
	pg_memory_barrier();
	return true;
}

bool is_writer(int number, Oid database)
{
	return pg_atomic_read_u32(&gates->slots[number].database) == database && &ProcGlobal->allProcs[number] != MyProc;
}

bool has_writer(Oid database)
{
	for (int i = 0; i < slot_count(); i++)
		if (is_writer(i, database))
			return true;
	return false;
}

} // namespace

void install_gate()
{
	next_request = shmem_request_hook;
	shmem_request_hook = request;
	next_startup = shmem_startup_hook;
	shmem_startup_hook = startup;
	next_start = ExecutorStart_hook;
	ExecutorStart_hook = at_start_of_query;
	next_utility = ProcessUtility_hook;
	ProcessUtility_hook = at_utility;
	RegisterXactCallback(at_end_of_transaction, nullptr);
}

bool is_writing() noexcept
{
	return is_inside;
}

void exempt_from_gate() noexcept
{
	is_exempt = true;
}

ClosedGate::ClosedGate(Oid database) : database_(database)
{
	if (!pg::call([&] { return close(database); }))
		throw pg::Failure({.sqlstate = "53000",
						   .message = "too many snapshots are being taken",
						   .hint = "Try again when one of them is done: pgbraid.stat_branch shows them."});
}

ClosedGate::~ClosedGate()
{
	closed_by_us = InvalidOid;
	open(database_);
}

void ClosedGate::seal()
{
	is_sealed_by_us = add(gates->sealed, database_); // there is room: it has a place among the closed ones
	pg_memory_barrier();
}

bool ClosedGate::wait_until_drained(TimestampTz deadline) const
{
	return pg::call([&] {
		uint32 wait_event = pg::wait_event("PgbraidWriteGate");
		ConditionVariablePrepareToSleep(&gates->drained);
		bool is_drained;
		while (!(is_drained = !has_writer(database_))) {
			long left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), deadline);
			if (left <= 0)
				break;
			(void) ConditionVariableTimedSleep(&gates->drained, left, wait_event);
		}
		ConditionVariableCancelSleep();
		return is_drained;
	});
}

std::vector<int> ClosedGate::writers() const
{
	std::vector<int> found;
	for (int i = 0; i < slot_count(); i++)
		if (is_writer(i, database_))
			found.push_back(ProcGlobal->allProcs[i].pid);
	return found;
}

} // namespace pgbraid::branch
