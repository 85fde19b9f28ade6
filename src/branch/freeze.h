// A database that stands still, while its sessions stay: nobody writes to it, nothing rewrites or vacuums its tables;
// readers go on. In an open transaction, whose end releases the locks.
#pragma once
#include "branch/gate.h"
#include "branch/relations.h"
#include "branch/wal_check.h"

#include <optional>
#include <string>

namespace pgbraid::branch {

class Freeze {
public:
	// Tries once: locks first, since who waits for them waits with the gate open; then the gate, until those who write
	// have ended. False when something is in the way for longer than the timeouts; `obstacle` says what. The
	// end of the caller's transaction lets go of all, before it tries again.
	//
	// Deadlocks: it never waits for a lock, and holds locks without the gate closed for less than deadlock_timeout, so
	// that nobody is cancelled for it. Who waits at the gate may hold a lock that a writer waits for, which no detector
	// sees: hence the timeout.
	bool take(int gate_timeout_ms);

	// Throws where something has been written to the database although it stood still: see WalCheck.
	void check() { wal_->read_on(); }

	const std::vector<PageNumber> &pruned() const noexcept { return wal_->pruned(); } // see WalCheck

	// Writers go on. The locks stay until the transaction ends: no vacuum, and no change of a catalog.
	void open_gate();

	std::string obstacle;

private:
	bool lock(bool (TableLocks::*take)(), TimestampTz deadline);
	bool drain(TimestampTz deadline);

	TableLocks locks_;
	std::optional<ClosedGate> gate_;
	std::optional<WalCheck> wal_;
};

// 55000 where it can't be tried at all: prepared transactions. 53200: more tables than there is room for locks.
void check_freezable();

} // namespace pgbraid::branch
