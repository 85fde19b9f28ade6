// Which transactions have ended, as this server sees it now, and as the decoder has seen it in WAL.
#pragma once
#include "catalog/snapshots.h"

#include <vector>

namespace pgbraid::flow {

// This moment, for a snapshot of tables. In an open transaction that has an active snapshot, by which it goes.
catalog::SnapshotStart take_start();

core::FullXid full_xid(TransactionId xid); // of one that is not in the future

// A commit is in WAL, and so in the stream, a moment before other sessions see what it did. A table that is read in
// that moment would show what the stream has already told to be past.
class RecentCommits {
public:
	void note(TransactionId xid);

	// Is one of those not yet visible to the active snapshot?
	bool is_any_hidden();

private:
	void forget_ended();
	std::vector<TransactionId> xids_;
};

} // namespace pgbraid::flow
