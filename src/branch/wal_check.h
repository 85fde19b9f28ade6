// Whether a database has stood still is said by WAL: the net below the gate and the locks.
#pragma once
#include "pg/compat.h"

extern "C" {
#include "access/xlogdefs.h"
}

#include <vector>

struct XLogReaderState;

namespace pgbraid::branch {

struct PageNumber {
	pg::Locator files;
	ForkNumber fork;
	BlockNumber block;
};

class WalCheck {
public:
	// When the gate has been closed: before the first transaction that may still be open.
	explicit WalCheck(Oid database);
	~WalCheck();
	WalCheck(const WalCheck &) = delete;
	WalCheck &operator=(const WalCheck &) = delete;

	// When the copy begins. `open`: transactions that have got a number and have not ended; what they have written
	// since the gate was closed, too, must be nothing.
	void begin(std::vector<TransactionId> open);

	// Reads WAL up to now: often, since checkpoints remove what is old. 40001 where something has been written; what
	// readers write does not count: hints, pruned pages, values of sequences.
	void read_on();

	// By readers, since the copy began and until read_on() was last called.
	const std::vector<PageNumber> &pruned() const noexcept { return pruned_; }

private:
	void note_pruned();
	bool is_open(TransactionId transaction) const;
	void start_reading();
	bool read_until_now();
	bool find_intruder(XLogRecPtr end);

	Oid database_;
	XLogRecPtr closed_, begun_ = 0;
	std::vector<TransactionId> open_;
	std::vector<PageNumber> pruned_;
	XLogReaderState *reader_ = nullptr;
	char intruder_[64] = "";
};

} // namespace pgbraid::branch
