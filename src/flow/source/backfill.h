// Snapshots of tables within a running flow: the initial one, and those that pgflow_snapshot asks for.
//
// A snapshot has a cutoff (catalog::SnapshotStart). Rows that were inserted later are told by their changes, which the
// flow publishes anyway, and are left out. So pieces of a table can be read at any time, each in a short transaction
// between two records of WAL, and no row is read that is older than what the stream has already told.
//
// Pieces are acknowledged by the stream and noted in the catalog before the next change is published. Every row carries
// its place in a header, so that the end of the stream tells a new worker where to go on.
#pragma once
#include "catalog/snapshots.h"
#include "core/flow/seal.h"
#include "flow/source/decoder.h"
#include "flow/source/outlet.h"
#include "flow/source/table_reader.h"

extern "C" {
#include "nodes/execnodes.h"
#include "storage/lock.h"
}

#include <functional>
#include <optional>
#include <string>

namespace pgbraid::flow {

class Backfill {
public:
	struct Callbacks {
		std::function<uint64_t()> await_empty; // until all that was handed over is acknowledged: where the stream ends
		std::function<void()> save_notes;	   // in the transaction that has read a piece, before that is published
		std::function<void()> await_durable;   // until all that is in WAL now may be told
	};
	// `secret`: keys that the stream must not show are sealed with it.
	Backfill(int64 flow, std::string publication, const std::string &secret, Decoder &decoder, Outlet &outlet,
			 Callbacks callbacks);

	// Reads from the catalog what there is to do. `place` is what the last message of the stream says, if it is a row
	// of a snapshot, and `position` its position; nothing is read before WAL has been decoded beyond it.
	void load();
	void resume(std::string_view place, core::Position position);

	bool is_pending() const noexcept { return next_.has_value(); }

	// What the slot must go on to give: 0 is nothing in particular.
	core::Lsn needs_wal_from(int64 now, int64 horizon) const
	{
		return decoder_.moved_rows().needs_wal_from(now, horizon);
	}

	// Is there something to be done now? `end`: WAL has been decoded up to here.
	bool can_work(core::Lsn end) const noexcept;

	// One piece of work. Between two records of WAL, outside of a transaction. False when it was not possible at this
	// moment, and will be in the next.
	bool work(core::Lsn end);

	// The flow begins with a snapshot whose moment has not come yet.
	bool must_begin() const noexcept { return next_ && next_->initial && !next_->begun; }
	bool begin(); // false when it has to wait for somebody

private:
	struct Place {
		int64 snapshot = 0;
		Oid table = InvalidOid;
		uint64_t rows = 0; // so far
		std::string key;
	};
	struct Piece {
		bool was_read = false; // else it was not possible at this moment
		bool is_end_of_table = false;
		std::optional<std::string> last_key;
		uint64_t rows = 0;
		size_t moved = 0; // of the rows that have moved, so many have been read
	};
	bool writers_have_ended();
	void start_over();
	void watch_moves();
	Piece read_piece(core::Lsn end);
	Oid read_table(core::Lsn lsn, Piece &piece);
	void read_moved(core::Lsn lsn, Piece &piece);
	void begin_filter(Relation relation);
	void read_rows(TableReader &reader, const catalog::SnapshotTable &table, core::Lsn lsn, Piece &piece);
	bool belongs(const TableReader &reader, const catalog::SnapshotTable &table) const;
	bool passes_filter(TableReader &reader);
	std::optional<Place> parse_place(std::string_view text) const;
	void append_place(std::string_view key, uint64_t rows);
	void publish(TableReader &reader, std::string_view key, core::Position position, uint64_t rows);
	Oid present_table() const;
	bool all_read() const noexcept { return next_->place.ordinal >= (int64) next_->tables.size(); }
	void renew_table(Oid filenode);
	void record(const Piece &piece, uint64_t sequence);
	void show_progress() const;

	int64 flow_;
	std::string publication_;
	core::Seal seal_;
	Decoder &decoder_;
	Outlet &outlet_;
	std::function<uint64_t()> await_empty_;
	std::function<void()> save_notes_, await_durable_;
	std::optional<catalog::Snapshot> next_;
	std::optional<std::vector<VirtualTransactionId>> writers_; // to be waited for before the next one begins
	core::Position last_position_{};						   // of a row; or of the end of the stream, at first
	core::Lsn all_read_at_ = 0;	  // end of WAL when the last row was read: until then, rows may have moved unseen
	ExprState *filter_ = nullptr; // of the table being read, within a piece
	ExprContext *filter_context_ = nullptr;
	bool hides_key_ = false; // the stream must not show the keys of the table being read
	core::Bytes place_;
	std::string before_; // the place of the row before; empty: where the catalog says
};

} // namespace pgbraid::flow
