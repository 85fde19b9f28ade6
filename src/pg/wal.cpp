#include "pg/wal.h"

#include "pg/compat.h"

extern "C" {
#include "access/timeline.h"
#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "replication/walsender.h"
#include "storage/lwlock.h"
}

namespace pgbraid::pg {

XLogRecPtr durable_wal_end(bool by_standbys)
{
	XLogRecPtr end = GetFlushRecPtr(nullptr);
	if (!by_standbys || max_wal_senders == 0 || !has_synchronous_standbys())
		return end;
	LWLockAcquire(SyncRepLock, LW_SHARED);
	XLogRecPtr replicated = WalSndCtl->lsn[SYNC_REP_WAIT_FLUSH];
	LWLockRelease(SyncRepLock);
	return Min(end, replicated);
}

XLogRecPtr wal_end()
{
	XLogRecPtr end = GetXLogInsertRecPtr();
	XLogRecPtr header =
		XLogSegmentOffset(end, wal_segment_size) == SizeOfXLogLongPHD ? SizeOfXLogLongPHD : SizeOfXLogShortPHD;
	return end % XLOG_BLCKSZ == header ? end - header : end;
}

XLogRecPtr last_commit_end()
{
	return XactLastCommitEnd;
}

int past_timelines(PastTimeline *found, int most)
{
	int count = 0;
	List *history = readTimeLineHistory(GetWALInsertionTimeLine());
	for (int i = 0; i < list_length(history) && count < most; i++) {
		auto *entry = static_cast<TimeLineHistoryEntry *>(list_nth(history, i));
		if (entry->end != InvalidXLogRecPtr)
			found[count++] = {entry->tli, entry->end};
	}
	return count;
}

} // namespace pgbraid::pg
