// How far WAL may be told to others.
#pragma once
#include "pg/boundary.h"

extern "C" {
#include "access/xlogdefs.h"
}

namespace pgbraid::pg {

// The end of WAL that is on disk; with `by_standbys`, also on those of the synchronous standbys, if there are any: what
// lies beyond may be undone by a failover.
XLogRecPtr durable_wal_end(bool by_standbys);

// Where WAL ends, on disk or not; never behind the header of a page that does not exist yet.
XLogRecPtr wal_end();

// Where the last commit of this process ends that wrote something; 0 if there was none.
XLogRecPtr last_commit_end();

// Past timelines of this server's WAL, each with the position up to which it is part of our history. Reads files.
struct PastTimeline {
	TimeLineID timeline;
	XLogRecPtr end;
};
int past_timelines(PastTimeline *found, int most);

} // namespace pgbraid::pg
