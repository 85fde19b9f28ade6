// The callbacks of our output plugin: what PostgreSQL calls for each transaction and change that a slot gives.
#pragma once
#include "core/flow/oversize.h"
#include "flow/source/announcer.h"
#include "flow/source/dead_letters.h"
#include "flow/source/encoder.h"
#include "flow/source/moved_rows.h"
#include "flow/source/outlet.h"
#include "flow/source/relation.h"
#include "flow/source/schema_log.h"
#include "flow/source/transactions.h"

extern "C" {
#include "replication/output_plugin.h"
}

#include <cstdint>

namespace pgbraid::flow {

// Where a snapshot stands with a row of it, and without; `before` may be empty, where the catalog knows.
struct SnapshotMark {
	std::string_view reached, before;
};

class Decoder {
public:
	struct Counters {
		uint64_t filtered = 0;
		core::Lsn last_commit = 0;
		TimestampTz last_commit_time = 0;
	};

	struct Parts {
		int64 flow;
		const core::History &history;
		Encoder &encoder;
		RelationPlans &plans;
		Outlet &outlet;
		Announcer &announcer;
		SchemaLog &schemas;
		core::Oversize &oversize;
		DeadLetters &letters;
		core::Lsn defined_since = 0; // what was committed before was judged by another definition, and that stands
	};

	// Events up to and including `after` are already in the stream.
	Decoder(const Parts &parts, core::Position after);
	~Decoder();

	// Among what the slot gives is the event at that position. Where it turns out not to be, this is another history
	// than the one in the stream.
	void must_meet_position() noexcept { expects_position_ = true; }
	bool has_missed_position(core::Lsn read_up_to) const noexcept
	{
		return expects_position_ && read_up_to > after_.lsn;
	}

	const Counters &counters() const noexcept { return counters_; }

	// To be called after each record of WAL: what was published outside of any transaction could not wait for room.
	void record_read();

	// The flow began at this moment: what had been committed by then is part of its snapshot, and no change.
	void begin_at(catalog::SnapshotStart start) noexcept { start_ = std::move(start); }

	// For snapshots, which have the same way out. begin_snapshot_rows: the rows to come were read at this position of
	// WAL. snapshot_row: one row of an open table; the mark goes with it, for who takes the snapshot up again.
	void begin_snapshot_rows(core::Lsn lsn);
	void snapshot_row(Relation relation, const RowImage &row, core::Position position, SnapshotMark mark);

	RecentCommits &recent_commits() noexcept { return recent_commits_; }
	MovedRows &moved_rows() noexcept { return moved_rows_; }

	// Does the stream not show the key by which rows of the table are read?
	bool hides_reading_key(Relation relation) { return plan_of(relation).hides_reading_key; }

	// Makes a message of the rows that wait for more: at the end of each piece, before the outlet is flushed.
	void close_pack();

	static void register_callbacks(OutputPluginCallbacks *callbacks);
	static bool is_active() noexcept { return active_ != nullptr; }

private:
	void begin(ReorderBufferTXN *transaction);
	void change(ReorderBufferTXN *transaction, Relation relation, ReorderBufferChange *change);
	void truncate(ReorderBufferTXN *transaction, int count, Relation *relations, core::Lsn record_lsn);
	void message(ReorderBufferTXN *transaction, const LogicalMessage &given);
	void message_ends_at(core::Lsn end_lsn) noexcept;
	void commit(ReorderBufferTXN *transaction);

	RelationPlan &plan_of(Relation relation);
	RowImage take_apart(Relation relation, HeapTuple tuple, int which);
	void stand_at(core::Position position) noexcept;
	void stand_at_next(ReorderBufferTXN *transaction) noexcept;
	bool is_stored() const noexcept { return position_ <= after_; }
	bool is_judged() const noexcept { return position_.lsn + 1 < parts_.defined_since; }
	bool wants_schema(const RelationPlan &plan) const noexcept { return parts_.schemas.wants(plan) && !is_judged(); }
	bool wants_letter() const noexcept
	{
		return parts_.oversize.mode() == core::OversizeMode::dead_letter && !is_judged();
	}
	bool is_of_interest(const RelationPlan &plan) const noexcept;
	void redrive(const RowImage &row);
	void filter_and_deliver(RelationPlan &plan, Relation relation, Change change);
	void deliver(RelationPlan &plan, Relation relation, const Change &change);
	void start_transaction();
	void announce_transaction();
	template <typename F>
	void append_packed(F &&append);
	void announce_schema(RelationPlan &plan, Relation relation, const Change &change);
	bool is_before_start(ReorderBufferTXN *transaction) const;
	void note_if_moved(ReorderBufferTXN *transaction, Relation relation, const ReorderBufferChange *change);
	void emit(const RelationPlan &plan, const Change &change);
	template <typename Stub>
	void settle(const char *op, std::string_view snapshot_before, Stub &&append_stub);
	void filtered(const RelationPlan &plan) noexcept;

	// The one that decodes in this process. Callbacks get no argument of ours when a context is made.
	static Decoder *active_;

	Parts parts_;
	core::Position after_, position_; // what the stream has; where we are
	bool expects_position_ = false;
	uint64_t seq_ = 0;
	ReorderBufferTXN *transaction_ = nullptr; // null for a snapshot and between transactions
	bool is_started_ = false;				  // encoder and announcer know of the transaction
	bool is_begun_ = false;					  // and the stream knows
	uint64_t events_ = 0;					  // of the transaction, those that the stream had included
	bool has_unsettled_ = false;			  // something was published outside of a transaction
	catalog::SnapshotStart start_;
	bool before_start_ = false; // the transaction is
	RecentCommits recent_commits_;
	MovedRows moved_rows_;
	core::Bytes old_key_, new_key_;
	MemoryContext row_context_;
	Datum *values_[2] = {}; // new and old row, room for every column of the widest table
	bool *nulls_[2] = {};
	core::Bytes headers_, subject_; // members, since an ereport would skip the destructors of locals
	Counters counters_;
};

} // namespace pgbraid::flow
