#include "branch/gate.h"

#include "pg/compat.h"
#include "pg/shared_memory.h"

extern "C" {
#include "access/xact.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/condition_variable.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "utils/timestamp.h"
}

namespace pgbraid::branch {

namespace {

constexpr int most_closed = 16; // as many as there can be operations
constexpr size_t cache_line = 64;

struct alignas(cache_line) Slot {
	pg_atomic_uint32 database; // that the transaction of this backend writes to, or 0
};

// Of one database there is one: who copies it has locked its tables first.
struct Gate {
	pg_atomic_uint32 database;	// 0: this gate is not in use
	pg_atomic_uint32 is_sealed; // those who had begun to write have ended
};

struct Gates {
	alignas(cache_line) pg_atomic_uint32 closed_count;
	Gate gates[most_closed];
	ConditionVariable opened, drained;
	Slot slots[FLEXIBLE_ARRAY_MEMBER]; // by number of the process in ProcGlobal->allProcs
};

Gates *shared = nullptr;
Gate *ours = nullptr;	// that this process has closed
bool is_inside = false; // this transaction has its slot set
bool is_exempt = false;

int slot_count()
{
	return MaxBackends + NUM_AUXILIARY_PROCS;
}

Size gates_size()
{
	return add_size(offsetof(Gates, slots), mul_size(sizeof(Slot), (Size) slot_count())) + cache_line;
}

Gates *gates_at(void *memory)
{
	return reinterpret_cast<Gates *>(TYPEALIGN(cache_line, memory));
}

void begin(void *memory, LWLock *)
{
	Gates *gates = gates_at(memory);
	pg_atomic_init_u32(&gates->closed_count, 0);
	for (Gate &gate : gates->gates) {
		pg_atomic_init_u32(&gate.database, InvalidOid);
		pg_atomic_init_u32(&gate.is_sealed, false);
	}
	ConditionVariableInit(&gates->opened);
	ConditionVariableInit(&gates->drained);
	for (int i = 0; i < slot_count(); i++)
		pg_atomic_init_u32(&gates->slots[i].database, InvalidOid);
}

void attach(void *memory)
{
	shared = gates_at(memory);
}

Slot &own_slot()
{
	return shared->slots[MyProc - ProcGlobal->allProcs];
}

Gate *closed_for(Oid database)
{
	for (Gate &gate : shared->gates)
		if (pg_atomic_read_u32(&gate.database) == database)
			return &gate;
	return nullptr;
}

// A transaction that has written in a way that no hook sees is waited for, until the gate is sealed.
bool must_wait()
{
	if (pg_atomic_read_u32(&shared->closed_count) == 0)
		return false;
	Gate *gate = closed_for(MyDatabaseId);
	return gate != nullptr &&
		   (!TransactionIdIsValid(GetTopTransactionIdIfAny()) || pg_atomic_read_u32(&gate->is_sealed));
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
		leave_gate();
		ConditionVariablePrepareToSleep(&shared->opened);
		while (closed_for(MyDatabaseId) != nullptr)
			ConditionVariableSleep(&shared->opened, wait_event);
		ConditionVariableCancelSleep();
		take_slot();
	}
}

void open()
{
	if (ours == nullptr)
		return;
	pg_atomic_write_u32(&ours->is_sealed, false);
	pg_write_barrier(); // the gate may be another database's next
	pg_atomic_write_u32(&ours->database, InvalidOid);
	pg_atomic_fetch_sub_u32(&shared->closed_count, 1);
	ConditionVariableBroadcast(&shared->opened);
	ours = nullptr;
}

void open_at_exit(int, Datum)
{
	open();
}

bool close(Oid database)
{
	static bool is_first = true;
	if (is_first)
		before_shmem_exit(open_at_exit, 0);
	is_first = false;
	for (Gate &gate : shared->gates) {
		uint32 nobody = InvalidOid;
		if (!pg_atomic_compare_exchange_u32(&gate.database, &nobody, database))
			continue;
		ours = &gate;
		pg_atomic_fetch_add_u32(&shared->closed_count, 1);
		pg_memory_barrier();
		return true;
	}
	return false;
}

bool is_writer(int number, Oid database)
{
	return pg_atomic_read_u32(&shared->slots[number].database) == database && &ProcGlobal->allProcs[number] != MyProc;
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
	pg::add_shared_area({"pgbraid gates", gates_size, begin, attach});
	watch_writing();
}

void enter_gate()
{
	if (is_inside || is_exempt || shared == nullptr || !OidIsValid(MyDatabaseId) || RecoveryInProgress())
		return;
	take_slot();
	if (pg_atomic_read_u32(&shared->closed_count) != 0)
		wait_until_open();
}

void leave_gate()
{
	if (!is_inside)
		return;
	is_inside = false;
	pg_atomic_write_u32(&own_slot().database, InvalidOid);
	pg_memory_barrier();
	if (pg_atomic_read_u32(&shared->closed_count) != 0)
		ConditionVariableBroadcast(&shared->drained);
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
	open();
}

void ClosedGate::seal()
{
	pg_atomic_write_u32(&ours->is_sealed, true);
	pg_memory_barrier();
}

bool ClosedGate::wait_until_drained(TimestampTz deadline) const
{
	return pg::call([&] {
		uint32 wait_event = pg::wait_event("PgbraidWriteGate");
		ConditionVariablePrepareToSleep(&shared->drained);
		bool is_drained;
		while (!(is_drained = !has_writer(database_))) {
			long left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), deadline);
			if (left <= 0)
				break;
			(void) ConditionVariableTimedSleep(&shared->drained, left, wait_event);
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
