// The workers of the cluster, in shared memory: a fixed table that says what each is for, whether it lives, how far it
// has come and what last went wrong. It outlives the workers, not the server.
//
//            launch()            attach()            set_state()
//   stopped ---------> launching --------> starting ------------> any state of its kind
//      ^                   |                   |                        |
//      +-------------------+-------------------+------------------------+   exit of the process
//
// A worker that leaves as `lost` keeps that state: nobody starts it again until its definition changes.
#pragma once
#include "pg/boundary.h"

extern "C" {
#include "datatype/timestamp.h"
#include "port/atomics.h"
#include "storage/condition_variable.h"
#include "storage/spin.h"
}

#include <type_traits>

struct Latch;

namespace pgbraid::worker {

enum class Kind : int { none, launcher, manager, flow, scheduler, executor, dispatcher, keeper };
enum class State : int { stopped, launching, starting, running, snapshotting, streaming, failed, lost };

const char *name_of(Kind kind);
const char *name_of(State state);

// What the last error of a worker said; `happened_at` 0 means none.
struct Trouble {
	char sqlstate[6];
	char message[512];
	char hint[512];
	TimestampTz happened_at;
};

// Fields without a remark are guarded by the registry's lock (see Lock). The owner of an entry is the process that was
// started for it.
struct Entry {
	Kind kind;	  // none: the entry is free
	Oid database; // InvalidOid for the launcher
	int64 object; // id of the flow; number of the executor
	NameData name;
	NameData database_name;
	uint32 generation; // a process started for an earlier one must leave
	int64 revision;	   // of the definition that the process was started with
	pid_t pid;		   // 0: no process
	Latch *latch;	   // of that process
	State state;
	bool stop_requested;
	bool over_wal_limit;
	TimestampTz stop_requested_at;
	TimestampTz launched_at, started_at, next_start_at;
	int32 failures; // in a row
	int64 starts;
	uint64 stream_hash;	 // which stream and servers stored_sequence speaks of
	uint64 epoch_hash;	 // which epoch stored_lsn and stored_seq do
	int64 run, next_run; // what an executor executes, and what it has taken for afterwards; 0: nothing
	bool next_cancelled;

	slock_t trouble_lock; // guards trouble alone, so that an error can be noted from anywhere
	Trouble trouble;

	pg_atomic_uint32 wants_wake; // asleep until something commits in its database
	pg_atomic_uint32 touched;	 // grows when the catalog of its database has changed
	pg_atomic_uint32 nudged;	 // of a scheduler or dispatcher: grows when a run has changed that it looks after
	pg_atomic_uint64 events_published, rows_snapshotted, events_filtered, retries;
	pg_atomic_uint64 sent_lsn;				 // last commit handed to the stream
	pg_atomic_uint64 acknowledged_lsn;		 // everything committed up to here is stored, or was nothing to publish
	pg_atomic_uint64 stored_sequence;		 // of the stream: our last acknowledged message; 0: none
	pg_atomic_uint64 stored_lsn, stored_seq; // its position
	pg_atomic_uint64 finished_snapshot;		 // every snapshot up to this number is in the stream
	pg_atomic_uint64 last_event_at;			 // commit time of the last event handed over
	pg_atomic_uint64 acknowledged_at;		 // commit time of the last event acknowledged
	ConditionVariable progress;				 // signalled when acknowledged_lsn or the state moves
};
static_assert(std::is_trivially_copyable_v<Entry>);

// Hooks for shared memory; in _PG_init, under shared_preload_libraries.
void install_registry();

// 55000 with a hint, unless the library was preloaded.
void require_preload();
bool is_preloaded() noexcept;

// Holds the registry's lock in this scope. Trivial work only: no allocation, nothing that can raise an error.
class Lock {
public:
	enum Mode { shared, exclusive };
	explicit Lock(Mode mode);
	~Lock();
	Lock(const Lock &) = delete;
	Lock &operator=(const Lock &) = delete;
};

// The whole table; its size is settings::max_workers().
Entry *entries() noexcept;
int entry_count() noexcept;

// Under Lock. find: nullptr if there is none. add: a free entry made ours, nullptr if the table is full.
Entry *find(Kind kind, Oid database, int64 object = 0) noexcept;
Entry *add(Kind kind, Oid database, int64 object, const char *name) noexcept;
void free_entry(Entry &entry) noexcept;

// Under Lock. A manager has found neither flows nor jobs in the database, and nothing has changed since; or that is not
// sure any more. Of some databases only.
void note_idle(Oid database) noexcept;
void forget_idle(Oid database) noexcept;

void set_trouble(Entry &entry, const char *sqlstate, const char *message, const char *hint) noexcept;
void clear_trouble(Entry &entry) noexcept;
Trouble trouble_of(Entry &entry) noexcept;

// A commit in this backend's database: wakes the flows that sleep until one.
void wake_flows(Oid database) noexcept;

// The catalog of this database has changed: wakes its flows and its manager, or has the launcher start one.
void touch(Oid database) noexcept;
// The database has got another name, or place in its family; which is nothing to an idle one.
void touch_moved(Oid database) noexcept;

// For the scheduler of the database, if it has one: `touch` has it read the jobs again, else it looks at the runs.
void nudge_scheduler(Oid database) noexcept;
bool touch_scheduler(Oid database) noexcept; // false: there is none

// There are so many more commands to execute in the database.
// Where all that there are have something to do, the scheduler is told, which starts more. The first one leaves that to
// its caller, and returns for how many nobody was idle.
int wake_idle_executors(Oid database, int count) noexcept;
void wake_executors(Oid database, int count) noexcept;

// For the dispatcher of the database: a run can be offered; or (touch) one that it has given away has ended, or jobs or
// servers are others. Where there is none, it is for the scheduler to start one.
void nudge_dispatcher(Oid database) noexcept;
void touch_dispatcher(Oid database) noexcept;

// For who waits in any database until a run can be claimed: the counter grows, and then they are woken.
void wake_claimers() noexcept;
uint64 claimable_generation() noexcept;
ConditionVariable &claimable() noexcept;

// Cancels what the executor of that run does, or lets it be cancelled when it begins. False if there is none.
bool interrupt_executor(Oid database, int64 run) noexcept;
// Is the run in the hands of an executor that lives?
bool is_executed(Oid database, int64 run) noexcept;

// For the launcher: the databases that were touched while they had no manager. True when there were too many to note,
// so that every database must be looked at. `databases` has room for `most`.
bool take_touched(Oid *databases, int most, int *count) noexcept;

// Databases that must be kept free of our workers, while somebody copies or drops them.
bool hold(Oid database) noexcept; // false: no room
void release(Oid database) noexcept;
bool is_held(Oid database) noexcept; // under Lock

void wake_launcher() noexcept;

// The keeper of branches, one for the cluster, is wanted at that time, or earlier if it was before; 0: now.
void want_keeper(TimestampTz at) noexcept;
TimestampTz take_keeper_wanted(TimestampTz now) noexcept; // 0: at once, and it is wanted no more; else when

} // namespace pgbraid::worker
