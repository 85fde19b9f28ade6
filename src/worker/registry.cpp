#include "worker/registry.h"

#include "pg/shared_memory.h"
#include "settings/settings.h"

extern "C" {
#include "miscadmin.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
}

#include <algorithm>
#include <new>

namespace pgbraid::worker {

namespace {

constexpr int most_noted = 64;

struct Held {
	Oid database;
	pid_t holder;
};

struct Registry {
	LWLock *lock;
	int touched_count;		 // lock
	bool touched_overflow;	 // lock
	TimestampTz keeper_at;	 // lock
	Oid touched[most_noted]; // lock
	pg_atomic_uint64 claimable_generation;
	ConditionVariable claimable;
	Held held[most_noted]; // lock; free where database is invalid
	Oid idle[most_noted];  // lock; a ring: their managers found neither flows nor jobs, and nothing has changed since
	int next_idle;		   // lock
	Entry entries[FLEXIBLE_ARRAY_MEMBER];
};

Registry *registry = nullptr;

Size registry_size()
{
	return add_size(offsetof(Registry, entries), mul_size(sizeof(Entry), (Size) settings::max_workers()));
}

template <typename F>
void for_each_counter(Entry &entry, F &&f)
{
	for (pg_atomic_uint64 *counter :
		 {&entry.events_published, &entry.rows_snapshotted, &entry.events_filtered, &entry.retries, &entry.sent_lsn,
		  &entry.acknowledged_lsn, &entry.stored_sequence, &entry.stored_lsn, &entry.stored_seq,
		  &entry.finished_snapshot, &entry.last_event_at, &entry.acknowledged_at})
		f(counter);
}

void initialise(Entry &entry)
{
	SpinLockInit(&entry.trouble_lock);
	pg_atomic_init_u32(&entry.wants_wake, 0);
	pg_atomic_init_u32(&entry.touched, 0);
	pg_atomic_init_u32(&entry.nudged, 0);
	for_each_counter(entry, [](pg_atomic_uint64 *counter) { pg_atomic_init_u64(counter, 0); });
	ConditionVariableInit(&entry.progress);
}

void begin(void *memory, LWLock *lock)
{
	MemSet(memory, 0, registry_size());
	auto *made = static_cast<Registry *>(memory);
	made->lock = lock;
	pg_atomic_init_u64(&made->claimable_generation, 0);
	ConditionVariableInit(&made->claimable);
	for (int i = 0; i < settings::max_workers(); i++)
		initialise(made->entries[i]);
}

void wake(const Entry *entry)
{
	if (entry != nullptr && entry->latch != nullptr)
		SetLatch(entry->latch);
}

Oid *find_idle(Oid database)
{
	Oid *end = std::end(registry->idle);
	Oid *found = std::find(std::begin(registry->idle), end, database);
	return found == end ? nullptr : found;
}

// Whoever held a database and died holds it no more.
bool is_alive(const Held &held)
{
	return held.database != InvalidOid && (held.holder == MyProcPid || kill(held.holder, 0) == 0);
}

} // namespace

const char *name_of(Kind kind)
{
	static constexpr const char *names[] = {"none",		 "launcher", "manager",	   "flow",
											"scheduler", "executor", "dispatcher", "keeper"};
	return names[static_cast<int>(kind)];
}

const char *name_of(State state)
{
	static constexpr const char *names[] = {"stopped",		"starting",	 "starting", "running",
											"snapshotting", "streaming", "failed",	 "lost"};
	return names[static_cast<int>(state)];
}

void install_registry()
{
	pg::add_shared_area(
		{"pgbraid registry", registry_size, begin, [](void *memory) { registry = static_cast<Registry *>(memory); }});
}

bool is_preloaded() noexcept
{
	return registry != nullptr;
}

void require_preload()
{
	if (!is_preloaded())
		throw pg::Failure(
			{.sqlstate = "55000",
			 .message = "pgbraid is not loaded at server start",
			 .hint = "Add pgbraid to shared_preload_libraries in postgresql.conf and restart the server."});
}

Lock::Lock(Mode mode)
{
	LWLockAcquire(registry->lock, mode == shared ? LW_SHARED : LW_EXCLUSIVE);
}

Lock::~Lock()
{
	// An ereport inside would already have released every lock of the process.
	if (LWLockHeldByMe(registry->lock))
		LWLockRelease(registry->lock);
}

Entry *entries() noexcept
{
	return registry->entries;
}

int entry_count() noexcept
{
	return registry ? settings::max_workers() : 0;
}

Entry *find(Kind kind, Oid database, int64 object) noexcept
{
	for (int i = 0; i < entry_count(); i++) {
		Entry &entry = registry->entries[i];
		if (entry.kind == kind && entry.database == database && entry.object == object)
			return &entry;
	}
	return nullptr;
}

Entry *add(Kind kind, Oid database, int64 object, const char *name) noexcept
{
	Entry *entry = find(Kind::none, InvalidOid);
	if (entry == nullptr)
		return nullptr;
	entry->kind = kind;
	entry->database = database;
	entry->object = object;
	namestrcpy(&entry->name, name);
	return entry;
}

void free_entry(Entry &entry) noexcept
{
	uint32 generation = entry.generation;
	entry.kind = Kind::none;
	entry.database = InvalidOid;
	entry.object = 0;
	entry.generation = generation + 1;
	entry.revision = 0;
	entry.pid = 0;
	entry.latch = nullptr;
	entry.state = State::stopped;
	entry.stop_requested = entry.over_wal_limit = false;
	entry.launched_at = entry.started_at = entry.next_start_at = 0;
	entry.failures = 0;
	entry.starts = 0;
	entry.stream_hash = entry.epoch_hash = 0;
	entry.stop_requested_at = 0;
	entry.run = entry.next_run = 0;
	entry.next_cancelled = false;
	MemSet(&entry.database_name, 0, sizeof entry.database_name);
	clear_trouble(entry);
	pg_atomic_write_u32(&entry.wants_wake, 0);
	pg_atomic_write_u32(&entry.touched, 0);
	pg_atomic_write_u32(&entry.nudged, 0);
	for_each_counter(entry, [](pg_atomic_uint64 *counter) { pg_atomic_write_u64(counter, 0); });
}

void note_idle(Oid database) noexcept
{
	if (find_idle(database) != nullptr)
		return;
	registry->idle[registry->next_idle] = database;
	registry->next_idle = (registry->next_idle + 1) % most_noted;
}

void forget_idle(Oid database) noexcept
{
	if (Oid *idle = find_idle(database))
		*idle = InvalidOid;
}

void set_trouble(Entry &entry, const char *sqlstate, const char *message, const char *hint) noexcept
{
	TimestampTz now = GetCurrentTimestamp();
	SpinLockAcquire(&entry.trouble_lock);
	strlcpy(entry.trouble.sqlstate, sqlstate, sizeof entry.trouble.sqlstate);
	strlcpy(entry.trouble.message, message, sizeof entry.trouble.message);
	strlcpy(entry.trouble.hint, hint, sizeof entry.trouble.hint);
	entry.trouble.happened_at = now;
	SpinLockRelease(&entry.trouble_lock);
}

void clear_trouble(Entry &entry) noexcept
{
	SpinLockAcquire(&entry.trouble_lock);
	entry.trouble.message[0] = entry.trouble.hint[0] = entry.trouble.sqlstate[0] = '\0';
	entry.trouble.happened_at = 0;
	SpinLockRelease(&entry.trouble_lock);
}

Trouble trouble_of(Entry &entry) noexcept
{
	SpinLockAcquire(&entry.trouble_lock);
	Trouble trouble = entry.trouble;
	SpinLockRelease(&entry.trouble_lock);
	return trouble;
}

// Read without the lock: an entry that changes hands meanwhile costs one needless wake.
void wake_flows(Oid database) noexcept
{
	for (int i = 0; i < entry_count(); i++) {
		Entry &entry = registry->entries[i];
		if (entry.kind != Kind::flow || entry.database != database || pg_atomic_read_u32(&entry.wants_wake) == 0)
			continue;
		if (pg_atomic_exchange_u32(&entry.wants_wake, 0) == 1) {
			Latch *latch = entry.latch;
			if (latch != nullptr)
				SetLatch(latch);
		}
	}
}

static void touch_flows(Oid database) noexcept
{
	for (int i = 0; i < entry_count(); i++) {
		Entry &entry = registry->entries[i];
		if (entry.kind != Kind::flow || entry.database != database)
			continue;
		pg_atomic_fetch_add_u32(&entry.touched, 1);
		if (entry.latch != nullptr)
			SetLatch(entry.latch);
	}
}

// Under Lock.
static void tell_of_change(Oid database) noexcept
{
	touch_flows(database);
	Entry *manager = find(Kind::manager, database);
	if (manager != nullptr) {
		pg_atomic_fetch_add_u32(&manager->touched, 1);
		if (manager->latch != nullptr) {
			SetLatch(manager->latch);
			return;
		}
	}
	bool noted = false;
	for (int i = 0; i < registry->touched_count; i++)
		noted = noted || registry->touched[i] == database;
	if (!noted && registry->touched_count < most_noted)
		registry->touched[registry->touched_count++] = database;
	else if (!noted)
		registry->touched_overflow = true;
	wake(find(Kind::launcher, InvalidOid));
}

void touch(Oid database) noexcept
{
	Lock lock(Lock::exclusive);
	forget_idle(database);
	tell_of_change(database);
}

void touch_moved(Oid database) noexcept
{
	Lock lock(Lock::exclusive);
	if (find_idle(database) == nullptr)
		tell_of_change(database);
}

static bool tell_scheduler(Oid database, bool of_jobs) noexcept
{
	Lock lock(Lock::shared);
	Entry *scheduler = find(Kind::scheduler, database);
	if (scheduler == nullptr || scheduler->latch == nullptr)
		return false;
	pg_atomic_fetch_add_u32(of_jobs ? &scheduler->touched : &scheduler->nudged, 1);
	wake(scheduler);
	return true;
}

void nudge_scheduler(Oid database) noexcept
{
	(void) tell_scheduler(database, false);
}

bool touch_scheduler(Oid database) noexcept
{
	return tell_scheduler(database, true);
}

int wake_idle_executors(Oid database, int count) noexcept
{
	for (int i = 0; i < entry_count() && count > 0; i++) {
		Entry &entry = registry->entries[i];
		if (entry.kind != Kind::executor || entry.database != database ||
			pg_atomic_exchange_u32(&entry.wants_wake, 0) == 0)
			continue;
		Latch *latch = entry.latch;
		if (latch != nullptr)
			SetLatch(latch);
		count--;
	}
	return count;
}

static int count_executors(Oid database) noexcept
{
	int count = 0;
	for (int i = 0; i < entry_count(); i++) {
		const Entry &entry = registry->entries[i];
		count += entry.kind == Kind::executor && entry.database == database && entry.pid != 0;
	}
	return count;
}

void wake_executors(Oid database, int count) noexcept
{
	if (wake_idle_executors(database, count) > 0 && count_executors(database) < settings::job_executors())
		nudge_scheduler(database);
}

static bool tell_dispatcher(Oid database, bool of_jobs) noexcept
{
	Lock lock(Lock::shared);
	Entry *dispatcher = find(Kind::dispatcher, database);
	if (dispatcher == nullptr || dispatcher->latch == nullptr)
		return false;
	if (dispatcher->pid == MyProcPid) // it knows
		return true;
	pg_atomic_fetch_add_u32(of_jobs ? &dispatcher->touched : &dispatcher->nudged, 1);
	wake(dispatcher);
	return true;
}

void nudge_dispatcher(Oid database) noexcept
{
	if (!tell_dispatcher(database, false))
		nudge_scheduler(database);
}

void touch_dispatcher(Oid database) noexcept
{
	(void) tell_dispatcher(database, true);
}

void wake_claimers() noexcept
{
	pg_atomic_fetch_add_u64(&registry->claimable_generation, 1);
	ConditionVariableBroadcast(&registry->claimable);
}

uint64 claimable_generation() noexcept
{
	return pg_atomic_read_u64(&registry->claimable_generation);
}

ConditionVariable &claimable() noexcept
{
	return registry->claimable;
}

static Entry *find_executor_of(Oid database, int64 run) noexcept
{
	for (int i = 0; i < entry_count(); i++) {
		Entry &entry = registry->entries[i];
		if (entry.kind == Kind::executor && entry.database == database && entry.pid != 0 &&
			(entry.run == run || entry.next_run == run))
			return &entry;
	}
	return nullptr;
}

bool interrupt_executor(Oid database, int64 run) noexcept
{
	Lock lock(Lock::exclusive); // it must not have gone on to another run
	Entry *entry = find_executor_of(database, run);
	if (entry == nullptr)
		return false;
	if (entry->run == run)
		return kill(entry->pid, SIGINT) == 0;
	entry->next_cancelled = true;
	return true;
}

bool is_executed(Oid database, int64 run) noexcept
{
	Lock lock(Lock::shared);
	return find_executor_of(database, run) != nullptr;
}

bool take_touched(Oid *databases, int most, int *count) noexcept
{
	Lock lock(Lock::exclusive);
	*count = Min(most, registry->touched_count);
	for (int i = 0; i < *count; i++)
		databases[i] = registry->touched[i];
	bool overflow = registry->touched_overflow || *count < registry->touched_count;
	registry->touched_count = 0;
	registry->touched_overflow = false;
	return overflow;
}

bool hold(Oid database) noexcept
{
	Lock lock(Lock::exclusive);
	for (Held &held : registry->held) {
		if (is_alive(held))
			continue;
		held = {database, MyProcPid};
		return true;
	}
	return false;
}

void release(Oid database) noexcept
{
	Lock lock(Lock::exclusive);
	for (Held &held : registry->held) {
		if (held.database == database && held.holder == MyProcPid) {
			held = {InvalidOid, 0};
			return;
		}
	}
}

bool is_held(Oid database) noexcept
{
	for (const Held &held : registry->held)
		if (held.database == database && is_alive(held))
			return true;
	return false;
}

void want_keeper(TimestampTz at) noexcept
{
	{
		Lock lock(Lock::exclusive);
		registry->keeper_at = Min(registry->keeper_at, at);
	}
	wake_launcher();
}

TimestampTz take_keeper_wanted(TimestampTz now) noexcept
{
	Lock lock(Lock::exclusive);
	if (registry->keeper_at > now)
		return registry->keeper_at;
	registry->keeper_at = PG_INT64_MAX;
	return 0;
}

void wake_launcher() noexcept
{
	Lock lock(Lock::shared);
	wake(find(Kind::launcher, InvalidOid));
}

} // namespace pgbraid::worker
