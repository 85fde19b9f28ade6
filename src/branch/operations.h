// What a session asks for is done by a process of its own, in transactions of its own: the session posts an operation
// to a table in shared memory, starts the process, and waits. pgbraid.stat_branch shows the table.
//
//   free --post()--> posted --(the process begins)--> running --(it ends)--> done --release()--> free
//
// Whichever of the two goes last frees the operation: a session that is gone leaves the process to its work.
#pragma once
#include "pg/boundary.h"

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

enum class Mode : int { live, exclusive };
enum class Wanted : int { any, branch, snapshot }; // which of the two the name is of

// Trivial, since it goes through shared memory.
struct Request {
	Verb verb;
	Oid database; // a member of the family that it is about
	Oid connect;  // that the process connects to
	Oid role;	  // whose operation it is
	char name[256], new_name[256];
	char description[1024];
	Wanted kind;
	int spares; // of a snapshot
	bool is_forced, switches, creates;
	Mode mode;
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

// A free one, with the request, or nullptr. `has_client`: this session waits for it, and frees it.
Operation *post(const Request &request, bool has_client);
void release(Operation &operation);

// Is any process at work? Asked before the remains of others are removed.
bool is_any_at_work();

int operation_count() noexcept;
Operation &operation_at(int number) noexcept;
int number_of(const Operation &operation) noexcept;

// A copy of one that is going on; false if that isn't.
bool read_operation(int number, Operation &copy);

// Of the table.
class Lock {
public:
	enum Mode { shared, exclusive };
	explicit Lock(Mode mode);
	~Lock();
	Lock(const Lock &) = delete;
	Lock &operator=(const Lock &) = delete;
};

} // namespace pgbraid::branch
