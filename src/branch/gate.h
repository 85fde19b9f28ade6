// The write gate of a database: while it is closed, transactions that have not written yet wait before their first
// write; those that have go on. Readers never notice it.
//
// Each backend has a slot in shared memory of its own, in which it says which database its transaction writes to. A
// writer sets its slot and then looks whether any gate is closed; who closes a gate does so and then looks at the
// slots, with a memory barrier between the two steps on either side: so either the writer sees the gate or the closer
// the writer. While no gate is closed that costs two stores and a load in each transaction that writes.
#pragma once
#include "pg/boundary.h"

extern "C" {
#include "datatype/timestamp.h"
}

#include <vector>

namespace pgbraid::branch {

// Hooks for shared memory, executor and utility statements; in _PG_init, under shared_preload_libraries.
void install_gate();
void watch_writing(); // the latter

// The transaction of this backend is going to write: waits while the gate of its database is closed. Twice is once.
// Raises PostgreSQL's errors, when the wait is cancelled.
void enter_gate();
void leave_gate(); // it has ended

// Has the transaction of this backend passed the gate?
bool is_writing() noexcept;

// What this process writes from now on does not ask the gate.
void exempt_from_gate() noexcept;

// Closed for the life of the object, and opened too if the process ends first.
class ClosedGate {
public:
	explicit ClosedGate(Oid database); // 53000 where too many gates are closed
	~ClosedGate();
	ClosedGate(const ClosedGate &) = delete;
	ClosedGate &operator=(const ClosedGate &) = delete;

	// From now on it also keeps out transactions that have written in a way that no hook has seen. Who got in before is
	// to be waited for once more.
	void seal();

	// Waits until nobody writes who got in before. False at the deadline.
	bool wait_until_drained(TimestampTz deadline) const;

	// Processes that still write.
	std::vector<int> writers() const;

private:
	Oid database_;
};

} // namespace pgbraid::branch
