// The life of one background process: how it is started, what it sets up, how it leaves.
#pragma once
#include "worker/registry.h"

namespace pgbraid::worker {

// Starts a process for an entry that has none. Where its database is held, later: whoever holds it wakes the launcher.
// Without a free background worker slot the entry carries the trouble and the time of the next try.
void launch(Entry &entry);

// An entry that was launched but whose process has never shown up is `stopped` again after a while.
void reap(Entry &entry);

// Asks the process of an entry to leave in an orderly way, if it has one. Under an exclusive Lock.
void request_stop(Entry &entry) noexcept;

// The first thing in a worker's main: signals, registry, connection to the entry's database (for the launcher, to
// none). Does not return if the entry is no longer meant for this process.
void attach(Datum argument);

// The same for the launcher, whose entry is its own.
void attach_launcher();

// For a short-lived worker that the registry does not know: signals, and how it leaves.
void start_outside_registry();

// The parts of attach() for a worker that the registry does not know and that links to nothing that has threads.
void unblock_signals();
void pin_settings(); // once it is connected

// The process will leave by _exit, after the callbacks for shared memory: exit() would run the exit handlers of libnats
// and OpenSSL beside threads that still use them. That was seen to crash, and a crash restarts the cluster.
void skip_exit_handlers();

// The entry of this process.
Entry &self() noexcept;

// Sets the state of this process' entry, and logs the change.
void set_state(State state);

// True once somebody has asked this process to leave.
bool stop_requested() noexcept;

// Leaves without an error. `state` is what the entry keeps.
[[noreturn]] void leave(State state);

// For who has no work: leaves and frees its entry, unless the catalog has been touched since `touched` was read. A
// manager says whether its database has neither flows nor jobs, so that none is started when the database is given
// another name.
void retire(uint32 touched, bool is_database_idle = false);

// When this process leaves, whichever way: runs before shared memory is detached. Must not raise an error.
void at_exit(void (*callback)());

// A failure has been overcome: the next one is the first in a row again.
void recovered() noexcept;

} // namespace pgbraid::worker
