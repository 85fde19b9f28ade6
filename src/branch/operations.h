// What a session asks for is done by a process of its own, in transactions of its own: the session posts an operation
// to a table in shared memory, starts the process, and waits. pgbraid.stat_branch shows the table.
//
//   free --post()--> posted --begin()--> running --finish()--> done --(the session has read it)--> free
//
// Whichever of the two goes last frees the operation: a session that is gone leaves the process to its work.
#pragma once
#include "pg/boundary.h"
#include "pg/transaction.h"

extern "C" {
#include "datatype/timestamp.h"
#include "port/atomics.h"
#include "storage/condition_variable.h"
}

#include <optional>

namespace pgbraid::branch {

enum class Verb : int {
	init,
	snapshot,
	create,
	checkout,
	reset,
	drop,
	rename,
	protect,
	unprotect,
	describe,
	set_spares,
	undo,
	spare, // by the keeper: another one of a snapshot
};
const char *name_of(Verb verb);
std::optional<Verb> verb_of(const char *name);

enum class Phase : int { starting, locking, draining, copying, syncing, switching, removing, retrying, held };
const char *name_of(Phase phase);

enum class Method : int { automatic, clone, wal }; // in which the files of a copy are made

enum class Sessions : int { terminate, terminate_idle, keep }; // on a branch that is checked out no more

// Trivial, since it goes through shared memory.
struct Request {
	Verb verb;
	Oid database; // a member of the family that it is about
	Oid connect;  // that the process connects to
	Oid role;	  // whose operation it is
	char name[256], other[256];
	char text[1024];
	char kind[16]; // "branch", "snapshot", or ""
	int number;
	bool is_forced, switches, creates, is_exclusive;
	Sessions sessions;
	Method method;
	int timeout_ms, gate_timeout_ms, deadline_ms;
};

// Fields without a remark are guarded by the table's lock.
struct Operation {
	enum class Status : int { free, posted, running, done } status;
	uint32 serial;
	bool has_client;
	int client; // pid of the session
	Oid client_database;
	pid_t pid;
	Request request;
	TimestampTz started_at;
	Oid result;
	char sqlstate[6]; // of what went wrong; "" where nothing did
	char message[512], detail[1024], hint[512];
	char notice[1024];
	pg_atomic_uint32 is_cancelled, phase, attempts;
	pg_atomic_uint64 bytes_done, bytes_total;
	ConditionVariable changed;
};

void install_operations(); // hooks for shared memory; in _PG_init, under shared_preload_libraries

// In the session: posts it, waits until it is done, and returns its result. Throws what the operation failed with.
Oid perform(const Request &request);

// Without a session that waits for it. False: there is no room.
bool perform_in_background(const Request &request);

// Is such a process at work on a copy of this name? Asked before its remains are removed.
bool is_any_at_work();

// In the process. Each operation has one. show() and check_cancelled() do nothing of it in any other.
Operation &begin(Datum argument);
Operation &current() noexcept;
void finish(Oid result, const std::optional<pg::Caught> &trouble, const char *notice);
void show(Phase phase) noexcept;
void reach(const char *step); // waits here while pgbraid.branch_hold_at says so
void check_cancelled();		  // throws 57014 when the session wants no more of it; handles interrupts

int operation_count() noexcept;
Operation *operations() noexcept;
class Lock {
public:
	explicit Lock(bool exclusive);
	~Lock();
	Lock(const Lock &) = delete;
	Lock &operator=(const Lock &) = delete;
};

} // namespace pgbraid::branch
