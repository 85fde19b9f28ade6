// The callbacks of our output plugin: what PostgreSQL calls for each transaction and change that a slot gives.
#pragma once
#include "flow/source/encoder.h"
#include "flow/source/outlet.h"
#include "flow/source/relation.h"

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

	// Among what the slot gives is the event at that position, if the slot has not been confirmed beyond it. Where it
	// turns out not to be, this is another history than the one in the stream.
	void must_meet_position(core::Lsn confirmed) noexcept
	{
		expects_position_ = after_.lsn > 0 && after_.lsn >= confirmed;
	}
	bool has_missed_position(core::Lsn read_up_to) const noexcept
	{
		return expects_position_ && read_up_to > after_.lsn;
	}

	const Counters &counters() const noexcept { return counters_; }

	// For the initial snapshot, which has the same way out: one row of an open table.
	void snapshot_row(Relation relation, const RowImage &row, core::Position position);

	// Makes a message of the rows that wait for more: at the end of each chunk, before the outlet is flushed.
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
	void filter_and_emit(const RelationPlan &plan, Change change);
	void emit(const RelationPlan &plan, const Change &change);

	Encoder &encoder_;
	RelationPlans &plans_;
	Outlet &outlet_;
	core::Position after_;
	bool expects_position_ = false;
	uint64_t seq_ = 0;
	bool started_ = false; // the transaction has been announced to the encoder
	MemoryContext row_context_;
	Datum *values_[2] = {}; // new and old row, room for every column of the widest table
	bool *nulls_[2] = {};
	Counters counters_;
};

} // namespace pgbraid::flow
