// The callbacks of our output plugin: what PostgreSQL calls for each transaction and change that a slot gives.
#pragma once
#include "flow/source/encoder.h"
#include "flow/source/moved_rows.h"
#include "flow/source/outlet.h"
#include "flow/source/relation.h"
#include "flow/source/transactions.h"

extern "C" {
#include "replication/output_plugin.h"
}

#include <cstdint>

namespace pgbraid::flow {

class Decoder {
public:
	struct Counters {
		uint64_t filtered = 0;
		core::Lsn last_commit = 0;
		TimestampTz last_commit_time = 0;
	};

	// Events up to and including `after` are already in the stream.
	Decoder(Encoder &encoder, RelationPlans &plans, Outlet &outlet, core::Position after);
	~Decoder();

	// Among what the slot gives is the event at that position. Where it turns out not to be, this is another history
	// than the one in the stream.
	void must_meet_position() noexcept { expects_position_ = true; }
	bool has_missed_position(core::Lsn read_up_to) const noexcept
	{
		return expects_position_ && read_up_to > after_.lsn;
	}

	const Counters &counters() const noexcept { return counters_; }

	// The flow began at this moment: what had been committed by then is part of its snapshot, and no change.
	void begin_at(catalog::SnapshotStart start) noexcept { start_ = std::move(start); }

	// For snapshots, which have the same way out. begin_snapshot_rows: the rows to come were read at this position of
	// WAL. snapshot_row: one row of an open table; `place` goes with it, for who takes the snapshot up again.
	void begin_snapshot_rows(core::Lsn lsn);
	void snapshot_row(Relation relation, const RowImage &row, core::Position position, std::string_view place);

	RecentCommits &recent_commits() noexcept { return recent_commits_; }
	MovedRows &moved_rows() noexcept { return moved_rows_; }

	// Does the stream not show the key by which rows of the table are read?
	bool hides_reading_key(Relation relation) { return plan_of(relation).hides_reading_key; }

	// Makes a message of the rows that wait for more: at the end of each piece, before the outlet is flushed.
	void close_pack() { encoder_.close_pack(outlet_.batch()); }

	static void register_callbacks(OutputPluginCallbacks *callbacks);

private:
	void begin(ReorderBufferTXN *transaction);
	void change(ReorderBufferTXN *transaction, Relation relation, ReorderBufferChange *change);
	void truncate(ReorderBufferTXN *transaction, int count, Relation *relations, core::Lsn record_lsn);
	void commit(ReorderBufferTXN *transaction);

	RelationPlan &plan_of(Relation relation);
	RowImage take_apart(Relation relation, HeapTuple tuple, int which);
	bool next_position(ReorderBufferTXN *transaction, core::Position *position);
	bool is_before_start(ReorderBufferTXN *transaction) const;
	void note_if_moved(ReorderBufferTXN *transaction, Relation relation, const ReorderBufferChange *change);
	void filter_and_emit(const RelationPlan &plan, Change change);
	void emit(const RelationPlan &plan, const Change &change);

	Encoder &encoder_;
	RelationPlans &plans_;
	Outlet &outlet_;
	core::Position after_;
	bool expects_position_ = false;
	uint64_t seq_ = 0;
	bool started_ = false; // the transaction has been announced to the encoder
	catalog::SnapshotStart start_;
	bool before_start_ = false; // the transaction is
	RecentCommits recent_commits_;
	MovedRows moved_rows_;
	core::Bytes old_key_, new_key_;
	MemoryContext row_context_;
	Datum *values_[2] = {}; // new and old row, room for every column of the widest table
	bool *nulls_[2] = {};
	Counters counters_;
};

} // namespace pgbraid::flow
