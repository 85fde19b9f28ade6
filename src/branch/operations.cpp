#include "branch/operations.h"

#include "pg/shared_memory.h"

extern "C" {
#include "miscadmin.h"
#include "storage/lwlock.h"
#include "utils/timestamp.h"
}

#include <algorithm>
#include <iterator>

namespace pgbraid::branch {

namespace {

constexpr int most_operations = 16;

struct Table {
	LWLock *lock;
	Operation operations[most_operations];
};
Table *table = nullptr;
constexpr int64 patience = 30 * USECS_PER_SEC; // until a process that was asked for has shown up

void begin(void *memory, LWLock *lock)
{
	MemSet(memory, 0, sizeof(Table));
	auto *made = static_cast<Table *>(memory);
	made->lock = lock;
	for (Operation &operation : made->operations) {
		for (pg_atomic_uint32 *counter : {&operation.is_cancelled, &operation.phase, &operation.attempts})
			pg_atomic_init_u32(counter, 0);
		pg_atomic_init_u64(&operation.bytes_done, 0);
		pg_atomic_init_u64(&operation.bytes_total, 0);
		ConditionVariableInit(&operation.changed);
	}
}

// Its process could not be started: nobody else will ever free it.
bool is_stillborn(const Operation &operation)
{
	return operation.status == Operation::Status::posted && !operation.has_client &&
		   GetCurrentTimestamp() > operation.started_at + patience;
}

} // namespace

const char *name_of(Phase phase)
{
	static constexpr const char *names[] = {"starting",	 "locking",	 "draining", "copying", "syncing",
											"switching", "removing", "retrying", "held"};
	return names[static_cast<int>(phase)];
}

void install_operations()
{
	pg::add_shared_area({"pgbraid branches", [] { return sizeof(Table); }, begin,
						 [](void *memory) { table = static_cast<Table *>(memory); }});
}

Operation *post(const Request &request, bool has_client)
{
	Lock lock(Lock::exclusive);
	for (Operation &operation : table->operations)
		if (is_stillborn(operation))
			operation.status = Operation::Status::free;
	auto *operation = std::find_if(std::begin(table->operations), std::end(table->operations),
								   [](const Operation &one) { return one.status == Operation::Status::free; });
	if (operation == std::end(table->operations))
		return nullptr;
	operation->status = Operation::Status::posted;
	operation->serial++;
	operation->has_client = has_client;
	operation->client = MyProcPid;
	operation->client_database = has_client ? MyDatabaseId : InvalidOid;
	operation->pid = 0;
	operation->request = request;
	operation->started_at = GetCurrentTimestamp();
	operation->result = InvalidOid;
	operation->sqlstate[0] = operation->message[0] = operation->detail[0] = operation->hint[0] = '\0';
	operation->notice[0] = '\0';
	for (pg_atomic_uint32 *counter : {&operation->is_cancelled, &operation->phase, &operation->attempts})
		pg_atomic_write_u32(counter, 0);
	pg_atomic_write_u64(&operation->bytes_done, 0);
	pg_atomic_write_u64(&operation->bytes_total, 0);
	return operation;
}

void release(Operation &operation)
{
	Lock lock(Lock::exclusive);
	operation.status = Operation::Status::free;
}

bool is_any_at_work()
{
	Lock lock(Lock::shared);
	return std::any_of(std::begin(table->operations), std::end(table->operations), [](const Operation &operation) {
		return operation.status == Operation::Status::running ||
			   (operation.status == Operation::Status::posted && !is_stillborn(operation));
	});
}

int operation_count() noexcept
{
	return table ? most_operations : 0;
}

Operation &operation_at(int number) noexcept
{
	return table->operations[number];
}

int number_of(const Operation &operation) noexcept
{
	return (int) (&operation - table->operations);
}

bool read_operation(int number, Operation &copy)
{
	Lock lock(Lock::shared);
	const Operation &operation = operation_at(number);
	bool is_live = operation.status == Operation::Status::posted || operation.status == Operation::Status::running;
	if (is_live)
		memcpy(static_cast<void *>(&copy), &operation, sizeof copy);
	return is_live;
}

Lock::Lock(Mode mode)
{
	LWLockAcquire(table->lock, mode == exclusive ? LW_EXCLUSIVE : LW_SHARED);
}

Lock::~Lock()
{
	if (LWLockHeldByMe(table->lock))
		LWLockRelease(table->lock);
}

} // namespace pgbraid::branch
