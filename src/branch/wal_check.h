// Whether a database has stood still is said by WAL: the net below the gate and the locks.
#pragma once
#include "pg/boundary.h"

extern "C" {
#include "access/xlogdefs.h"
}

#include <string>
#include <vector>

namespace pgbraid::branch {

class WalCheck {
public:
	explicit WalCheck(
		Oid database); // when the gate has been closed: before the first transaction that may still be open

	// When the copy begins. `open`: transactions that have got a number and have not ended; what they have written
	// since the gate was closed, too, must be nothing.
	void begin(std::vector<TransactionId> open);

	// Reads WAL up to now. What readers write does not count: hints, pruned pages, values of sequences. Says what was
	// found, or "".
	std::string find_intruder() const;

private:
	bool is_open(TransactionId transaction) const;

	Oid database_;
	XLogRecPtr closed_, begun_ = 0;
	std::vector<TransactionId> open_;
};

} // namespace pgbraid::branch
