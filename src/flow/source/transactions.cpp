#include "flow/source/transactions.h"

extern "C" {
#include "access/subtrans.h"
#include "access/transam.h"
#include "access/xlog.h"
#include "storage/procarray.h"
#include "utils/snapmgr.h"
}

#include <algorithm>

namespace pgbraid::flow {

namespace {

// Of a transaction with very many subtransactions the snapshot does not list them all; pg_subtrans knows them, for as
// long as the snapshot is held.
void add_unlisted(Snapshot snapshot, std::vector<core::FullXid> &running)
{
	for (TransactionId xid = snapshot->xmin; TransactionIdPrecedes(xid, snapshot->xmax);) {
		TransactionId top = pg::call([=] { return SubTransGetTopmostTransaction(xid); });
		if (top != xid &&
			std::find(snapshot->xip, snapshot->xip + snapshot->xcnt, top) != snapshot->xip + snapshot->xcnt)
			running.push_back(full_xid(xid));
		TransactionIdAdvance(xid);
	}
}

} // namespace

core::FullXid full_xid(TransactionId xid)
{
	return core::full_xid(xid, U64FromFullTransactionId(ReadNextFullTransactionId()));
}

catalog::SnapshotStart take_start()
{
	Snapshot snapshot = GetActiveSnapshot();
	std::vector<core::FullXid> running;
	for (uint32 i = 0; i < snapshot->xcnt; i++)
		running.push_back(full_xid(snapshot->xip[i]));
	for (int32 i = 0; i < snapshot->subxcnt; i++)
		running.push_back(full_xid(snapshot->subxip[i]));
	if (snapshot->suboverflowed)
		add_unlisted(snapshot, running);
	// The snapshot's xmax may be the next transaction, which has not begun.
	auto next = U64FromFullTransactionId(ReadNextFullTransactionId());
	return {core::Cutoff(core::full_xid(snapshot->xmin, next + 1), core::full_xid(snapshot->xmax, next + 1),
						 std::move(running)),
			GetXLogInsertRecPtr()};
}

void RecentCommits::note(TransactionId xid)
{
	constexpr size_t most = 4096;
	if (xids_.size() >= most)
		forget_ended();
	xids_.push_back(xid);
}

bool RecentCommits::is_any_hidden()
{
	Snapshot snapshot = GetActiveSnapshot();
	std::erase_if(xids_, [=](TransactionId xid) { return TransactionIdPrecedes(xid, snapshot->xmin); });
	const TransactionId *begin = snapshot->xip, *end = begin + snapshot->xcnt;
	return std::any_of(xids_.begin(), xids_.end(), [=](TransactionId xid) {
		return !TransactionIdPrecedes(xid, snapshot->xmax) || std::find(begin, end, xid) != end;
	});
}

void RecentCommits::forget_ended()
{
	std::erase_if(xids_, [](TransactionId xid) { return !pg::call([=] { return TransactionIdIsInProgress(xid); }); });
}

} // namespace pgbraid::flow
