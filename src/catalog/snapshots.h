// The tables pgbraid.flow_snapshots (what flows were asked to read whole), flow_snapshot_tables (what of it there is to
// read) and flow_snapshot_chunks (how far it has come, by the sequence of the stream). Alone knows their columns. Every
// function needs an open transaction.
#pragma once
#include "core/flow/cutoff.h"
#include "core/flow/position.h"
#include "pg/boundary.h"

#include <optional>
#include <string>
#include <vector>

namespace pgbraid::catalog {

// From when on rows are told by their changes.
struct SnapshotStart {
	core::Cutoff cutoff;
	core::Lsn lsn = 0; // end of WAL at the cutoff
};

struct SnapshotTable {
	Oid relation;
	Oid filenode;
	SnapshotStart start;
};

// Of a chunk: `ordinal` of the table, and the last row that was read of it; none when it was done.
struct SnapshotPlace {
	int64 ordinal = 0;
	std::optional<std::string> last_key;
	uint64 rows = 0;
};

struct Snapshot {
	int64 id = 0;
	bool initial = false;
	std::vector<Oid> wanted; // empty: all
	std::string filter;		 // empty: none
	bool begun = false;
	SnapshotStart start;
	std::vector<SnapshotTable> tables;
	SnapshotPlace place;
};

// The first that is not finished.
std::optional<Snapshot> next_snapshot(int64 flow);

// Every snapshot up to this number is finished.
int64 last_finished_snapshot(int64 flow);

// The start of the latest initial snapshot, if it has begun.
std::optional<SnapshotStart> initial_start(int64 flow);

void begin_snapshot(int64 snapshot, const SnapshotStart &start, const std::vector<SnapshotTable> &tables);
void restart_table(int64 snapshot, int64 ordinal, const SnapshotTable &table);
void record_chunk(int64 snapshot, uint64 stream_sequence, const SnapshotPlace &place);
void finish_snapshot(int64 snapshot);

// What is not finished begins again: nothing of it is in the history to come.
void reset_snapshots(int64 flow);

// The stream ends at this sequence: what was read and is not in it any more is read again. False if how far the
// snapshot had come by then is forgotten.
bool rewind_snapshots(int64 flow, uint64 stream_sequence, int64 horizon_ms);

// Forgets places that the stream can't go back to.
void prune_chunks(int64 flow, int64 horizon_ms);

// The tables of a publication that hold rows: partitions in place of their root. Only those among `wanted`, or their
// partitions, if it is not empty.
std::vector<SnapshotTable> tables_to_read(const std::string &publication, const Snapshot &snapshot);

} // namespace pgbraid::catalog
