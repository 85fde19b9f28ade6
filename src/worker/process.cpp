#include "worker/process.h"

#include "core/base/backoff.h"
#include "pg/background.h"
#include "pg/boundary.h"
#include "settings/settings.h"

extern "C" {
#include "catalog/pg_authid_d.h"
#include "common/pg_prng.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/timestamp.h"
}

#include <unistd.h>

namespace pgbraid::worker {

namespace {

constexpr int show_up_timeout_ms = 20 * 1000;
constexpr int stop_patience_ms = 1000;

Entry *own = nullptr;
State final_state = State::stopped;
void (*exit_callback)() = nullptr;
bool terminated_by_admin = false;
bool retiring = false;
uint32 touched_at_retirement = 0;
bool leaves_idle_database = false;
emit_log_hook_type next_log_hook = nullptr;

// Whatever ends this worker passes here first: ERROR, FATAL, a C++ exception that became one.
void note_error(ErrorData *error)
{
	if (error->elevel >= ERROR && own != nullptr) {
		terminated_by_admin = error->sqlerrcode == ERRCODE_ADMIN_SHUTDOWN;
		if (!terminated_by_admin)
			set_trouble(*own, unpack_sql_state(error->sqlerrcode), error->message ? error->message : "",
						error->hint ? error->hint : "");
	}
	if (next_log_hook)
		next_log_hook(error);
}

void schedule_next_start(Entry &entry)
{
	entry.failures++;
	auto delay = core::backoff((unsigned) entry.failures, std::chrono::milliseconds{100},
							   std::chrono::milliseconds{settings::restart_delay_max_ms()},
							   pg_prng_uint32(&pg_global_prng_state));
	entry.next_start_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), delay.count());
}

void wake_parent(const Entry &entry)
{
	Entry *parent = nullptr;
	if (entry.kind == Kind::flow || entry.kind == Kind::scheduler)
		parent = find(Kind::manager, entry.database);
	else if (entry.kind == Kind::executor || entry.kind == Kind::dispatcher)
		parent = find(Kind::scheduler, entry.database);
	if (parent == nullptr || parent->latch == nullptr)
		return;
	pg_atomic_fetch_add_u32(&parent->nudged, 1);
	SetLatch(parent->latch);
}

void detach(int code, Datum)
{
	if (exit_callback != nullptr)
		exit_callback();
	Entry &entry = *own;
	own = nullptr;
	{
		Lock lock(Lock::exclusive);
		entry.pid = 0;
		entry.latch = nullptr;
		entry.run = entry.next_run = 0;
		entry.next_cancelled = false;
		entry.stop_requested = false;
		pg_atomic_write_u32(&entry.wants_wake, 0);
		if (code == 0 && retiring && pg_atomic_read_u32(&entry.touched) == touched_at_retirement) {
			if (leaves_idle_database)
				note_idle(entry.database);
			free_entry(entry);
		} else if (code == 0) {
			entry.state = final_state;
			entry.failures = 0;
			entry.next_start_at = 0;
		} else if (terminated_by_admin) {
			entry.state = State::stopped;
			entry.next_start_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), 100);
		} else {
			entry.state = State::failed;
			schedule_next_start(entry);
		}
		wake_parent(entry);
	}
	ConditionVariableBroadcast(&entry.progress);
	wake_launcher();
}

const char *main_function(Kind kind)
{
	switch (kind) {
		case Kind::manager: return "pgbraid_manager_main";
		case Kind::scheduler: return "pgbraid_scheduler_main";
		case Kind::executor: return "pgbraid_executor_main";
		case Kind::dispatcher: return "pgbraid_dispatcher_main";
		case Kind::keeper: return "pgbraid_keeper_main";
		default: return "pgbraid_flow_main";
	}
}

BackgroundWorker describe(const Entry &entry)
{
	char type[BGW_MAXLEN], name[BGW_MAXLEN];
	snprintf(type, sizeof type, "pgbraid %s", name_of(entry.kind));
	snprintf(name, sizeof name, "pgbraid %s %s", name_of(entry.kind), NameStr(entry.name));
	BackgroundWorker worker = pg::background_worker(main_function(entry.kind), type, name);
	worker.bgw_main_arg = Int32GetDatum((int32) (&entry - entries()));
	memcpy(worker.bgw_extra, &entry.generation, sizeof entry.generation);
	return worker;
}

void occupy(Entry &entry)
{
	entry.pid = MyProcPid;
	entry.latch = MyLatch;
	entry.state = State::starting;
	entry.started_at = GetCurrentTimestamp();
	entry.starts++;
}

// False when the entry has been given to another process, or to nobody.
bool take_entry(Entry &entry)
{
	uint32 generation;
	memcpy(&generation, MyBgworkerEntry->bgw_extra, sizeof generation);
	Lock lock(Lock::exclusive);
	if (entry.generation != generation || entry.state != State::launching)
		return false;
	if (is_held(entry.database)) {
		entry.state = State::stopped;
		return false;
	}
	occupy(entry);
	return true;
}

// From here on, whatever happens to this process is noted in its entry.
void begin(Entry &entry)
{
	own = &entry;
	next_log_hook = emit_log_hook;
	emit_log_hook = note_error;
	before_shmem_exit(detach, 0);
}

} // namespace

void launch(Entry &entry)
{
	BackgroundWorker worker;
	{
		Lock lock(Lock::exclusive);
		if (is_held(entry.database))
			return;
		entry.generation++;
		entry.state = State::launching;
		entry.stop_requested = false;
		entry.launched_at = GetCurrentTimestamp();
		entry.next_start_at = 0;
		worker = describe(entry);
	}
	if (pg::call([&] { return RegisterDynamicBackgroundWorker(&worker, nullptr); }))
		return;
	Lock lock(Lock::exclusive);
	entry.state = State::failed;
	schedule_next_start(entry);
	set_trouble(entry, "53400", "no background worker slot is free",
				"Increase max_worker_processes in postgresql.conf and restart the server.");
}

void reap(Entry &entry)
{
	Lock lock(Lock::exclusive);
	if (entry.state == State::launching &&
		TimestampDifferenceExceeds(entry.launched_at, GetCurrentTimestamp(), show_up_timeout_ms)) {
		entry.generation++;
		entry.state = State::failed;
		schedule_next_start(entry);
		set_trouble(entry, "58000", "the worker process did not start", "Look for the reason in the server's log.");
	}
}

void request_stop(Entry &entry) noexcept
{
	if (entry.pid != 0) {
		TimestampTz now = GetCurrentTimestamp();
		if (!entry.stop_requested)
			entry.stop_requested_at = now;
		entry.stop_requested = true;
		if (entry.latch != nullptr)
			SetLatch(entry.latch);
		// It may sit in PostgreSQL's code, waiting for another transaction to end.
		if (TimestampDifferenceExceeds(entry.stop_requested_at, now, stop_patience_ms))
			kill(entry.pid, SIGTERM);
	} else if (entry.state == State::launching) {
		entry.generation++;
		entry.state = State::stopped;
	}
}

void unblock_signals()
{
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	pqsignal(SIGINT,
			 SIG_IGN); // there is no statement to cancel, and an error out of ereport(LOG) would pass our frames
	BackgroundWorkerUnblockSignals();
}

// What ALTER DATABASE or ALTER ROLE set for sessions is not meant for us: a timeout would end each long transaction.
void pin_settings()
{
	static constexpr struct {
		const char *name, *value;
	} pinned[] = {
		{"statement_timeout", "0"},
		{"lock_timeout", "0"},
		{"idle_in_transaction_session_timeout", "0"},
		{"transaction_timeout", "0"},
		{"default_transaction_read_only", "off"},
		{"default_transaction_isolation", "read committed"},
	};
	for (const auto &setting : pinned)
		if (GetConfigOption(setting.name, true, false) != nullptr)
			SetConfigOption(setting.name, setting.value, PGC_SUSET, PGC_S_OVERRIDE);
	// What a worker notes must not wait for a standby; what an executor commits is somebody else's.
	if (own == nullptr || own->kind != Kind::executor)
		SetConfigOption("synchronous_commit", "local", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("application_name", MyBgworkerEntry->bgw_name, PGC_USERSET, PGC_S_OVERRIDE);
}

void attach(Datum argument)
{
	unblock_signals();
	Entry &entry = entries()[DatumGetInt32(argument)];
	if (!take_entry(entry))
		proc_exit(0);
	begin(entry);
	BackgroundWorkerInitializeConnectionByOid(entry.database, InvalidOid, 0);
	pin_settings();
}

void attach_launcher()
{
	unblock_signals();
	Entry *entry;
	{
		Lock lock(Lock::exclusive);
		entry = find(Kind::launcher, InvalidOid);
		if (entry == nullptr)
			entry = add(Kind::launcher, InvalidOid, 0, "launcher");
		Assert(entry != nullptr); // it is the first to ask
		occupy(*entry);
	}
	begin(*entry);
	BackgroundWorkerInitializeConnection(nullptr, nullptr, 0);
}

void start_outside_registry()
{
	unblock_signals();
	skip_exit_handlers();
}

void skip_exit_handlers()
{
	on_proc_exit([](int code, Datum) { _exit(code); }, 0);
}

Entry &self() noexcept
{
	return *own;
}

void set_state(State state)
{
	Entry &entry = self();
	State before;
	{
		Lock lock(Lock::exclusive);
		before = entry.state;
		entry.state = state;
	}
	ConditionVariableBroadcast(&entry.progress);
	if (before != state)
		ereport(entry.kind == Kind::flow ? LOG : DEBUG1,
				(errmsg("%s \"%s\" is %s", name_of(entry.kind), NameStr(entry.name), name_of(state))));
}

bool stop_requested() noexcept
{
	return self().stop_requested;
}

void leave(State state)
{
	final_state = state;
	if (state != State::stopped)
		set_state(state);
	proc_exit(0);
}

void retire(uint32 touched, bool is_database_idle)
{
	{
		Lock lock(Lock::exclusive);
		Entry &entry = self();
		if (pg_atomic_read_u32(&entry.touched) != touched)
			return;
		entry.latch = nullptr; // from now on a touch goes to the launcher
		retiring = true;
		touched_at_retirement = touched;
		leaves_idle_database = is_database_idle;
	}
	proc_exit(0);
}

void at_exit(void (*callback)())
{
	exit_callback = callback;
}

void recovered() noexcept
{
	Lock lock(Lock::exclusive);
	self().failures = 0;
}

} // namespace pgbraid::worker
