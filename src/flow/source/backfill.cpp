#include "flow/source/backfill.h"

#include "core/flow/json.h"
#include "flow/source/condition.h"
#include "pg/encoding.h"
#include "pg/transaction.h"
#include "worker/process.h"

extern "C" {
#include "executor/executor.h"
#include "utils/inval.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
}

#include <charconv>

namespace pgbraid::flow {

namespace {

// A piece ends with the first of these: it is in memory until the stream has it, and changes wait for it.
constexpr uint64_t most_rows = 20'000;
constexpr size_t most_bytes = 2 << 20;
constexpr int most_ms = 200;

// What was looked up while the past was being decoded is not what is there now, nor the other way round.
void forget_catalog()
{
	pg::call([] { InvalidateSystemCaches(); });
}

// "<snapshot>/<table>/<key>"
struct Place {
	int64 snapshot = 0;
	Oid table = InvalidOid;
	std::string key;
};

std::optional<Place> parse_place(std::string_view text)
{
	Place place;
	const char *end = text.data() + text.size();
	auto [slash, error] = std::from_chars(text.data(), end, place.snapshot);
	if (error != std::errc() || slash == end || *slash != '/')
		return std::nullopt;
	auto [second, bad_table] = std::from_chars(slash + 1, end, place.table);
	if (bad_table != std::errc() || second == end || *second != '/')
		return std::nullopt;
	place.key = pg::from_utf8({second + 1, (size_t) (end - second - 1)});
	return place;
}

} // namespace

Backfill::Backfill(int64 flow, std::string publication, Decoder &decoder, Outlet &outlet,
				   std::function<uint64_t()> await_empty)
	: flow_(flow), publication_(std::move(publication)), decoder_(decoder), outlet_(outlet),
	  await_empty_(std::move(await_empty))
{
}

void Backfill::load()
{
	pg::in_transaction("reading pgbraid.flow_snapshots", [&] {
		next_ = catalog::next_snapshot(flow_);
		pg_atomic_write_u64(&worker::self().finished_snapshot, (uint64) catalog::last_finished_snapshot(flow_));
	});
	show_progress();
}

// The catalog may not know of the last piece: then the stream does.
void Backfill::resume(std::string_view text, core::Position position)
{
	last_position_ = position;
	auto place = parse_place(text);
	if (!place || !next_ || next_->id != place->snapshot)
		return;
	for (size_t i = (size_t) next_->place.ordinal; i < next_->tables.size(); i++) {
		if (next_->tables[i].relation != place->table)
			continue;
		next_->place.ordinal = (int64) i;
		next_->place.last_key = place->key;
	}
}

void Backfill::show_progress() const
{
	worker::set_state(next_ ? worker::State::snapshotting : worker::State::streaming);
}

bool Backfill::can_work(core::Lsn end) const noexcept
{
	if (!next_)
		return false;
	bool in_order = end > last_position_.lsn + 1;
	if (!next_->begun || next_->place.ordinal >= (int64) next_->tables.size())
		return in_order;
	return in_order && end >= next_->tables[(size_t) next_->place.ordinal].start.lsn;
}

void Backfill::begin()
{
	pg::in_transaction("beginning a snapshot", [&] {
		next_->start = take_start();
		next_->tables = catalog::tables_to_read(publication_, *next_);
		catalog::begin_snapshot(next_->id, next_->start, next_->tables);
	});
	next_->begun = true;
}

bool Backfill::work(core::Lsn end)
{
	if (!next_->begun) {
		begin();
		return true;
	}
	Piece piece;
	if (next_->place.ordinal < (int64) next_->tables.size()) {
		outlet_.flush();
		outlet_.may_wait(false);
		forget_catalog();
		piece = read_piece(end);
		forget_catalog();
		outlet_.may_wait(true);
		if (!piece.was_read)
			return false;
	}
	outlet_.flush();
	record(piece, await_empty_());
	return true;
}

// In a snapshot of its own, since READ COMMITTED.
Backfill::Piece Backfill::read_piece(core::Lsn end)
{
	Piece piece;
	const catalog::SnapshotTable table = next_->tables[(size_t) next_->place.ordinal];
	Oid other_filenode = InvalidOid;
	pg::in_transaction("reading a table", [&] {
		if (decoder_.recent_commits().is_any_hidden())
			return;
		TableReader reader(table.relation, next_->place.last_key);
		piece.was_read = true;
		piece.is_end_of_table = !reader.exists(); // dropped since
		if (reader.exists() && reader.filenode() != table.filenode)
			other_filenode = reader.filenode();
		else if (reader.exists())
			read_rows(reader, table, end - 1, piece);
		reader.close();
	});
	if (OidIsValid(other_filenode)) {
		renew_table(other_filenode);
		piece.was_read = false;
	}
	return piece;
}

// The table was rewritten: who wrote its rows is forgotten. From now on counts what is there now; and where there is no
// key to go on after, the table is read from its beginning.
void Backfill::renew_table(Oid filenode)
{
	size_t ordinal = (size_t) next_->place.ordinal;
	catalog::SnapshotTable &table = next_->tables[ordinal];
	ereport(LOG, (errmsg("table %u was rewritten while its snapshot was being taken", table.relation)));
	pg::in_transaction("beginning a table anew", [&] {
		table.filenode = filenode;
		table.start = take_start();
		catalog::restart_table(next_->id, (int64) ordinal, table);
		TableReader reader(table.relation, std::nullopt);
		if (!reader.exists() || !reader.has_key())
			next_->place.last_key.reset();
		reader.close();
	});
}

void Backfill::read_rows(TableReader &reader, const catalog::SnapshotTable &table, core::Lsn lsn, Piece &piece)
{
	TimestampTz deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), most_ms);
	uint64_t seen = 0, published_before = outlet_.bytes_passed();
	core::Position position{lsn, last_position_.lsn == lsn ? last_position_.seq : 0};
	if (!next_->filter.empty())
		pg::call([&] {
			filter_ = ExecInitExpr(parse_condition(reader.relation(), next_->filter.c_str()), nullptr);
			filter_context_ = CreateStandaloneExprContext();
		});
	decoder_.begin_snapshot_rows(lsn);
	while ((piece.is_end_of_table = !reader.next()) == false) {
		bool is_last = ++seen >= most_rows || outlet_.bytes_passed() - published_before > most_bytes ||
					   (seen % 256 == 0 && GetCurrentTimestamp() >= deadline);
		bool is_published = belongs(reader, table) && (next_->filter.empty() || passes_filter(reader));
		if (is_published || is_last) {
			std::string_view key = reader.key();
			if (is_published) {
				position.seq++;
				publish(reader, key, position);
				piece.rows++;
			}
			if (is_last) {
				piece.last_key = key;
				break;
			}
		}
	}
	if (piece.rows > 0)
		last_position_ = position;
}

// Was the row there at the cutoff? Rows inserted since are told by that. One that was updated since has been told as
// well, but who reads the stream may not have known the row that the update spoke of, nor the values that it left
// alone: such a row is told whole. Without a key, the update has told it whole.
bool Backfill::belongs(const TableReader &reader, const catalog::SnapshotTable &table) const
{
	RowOrigin origin = reader.origin();
	if (table.start.cutoff.includes(full_xid(origin.writer)))
		return true;
	// The id may have been used before. A keyless reader can't tell a row that comes twice, so it must not.
	if (origin.is_frozen && (reader.has_key() || origin.page_lsn < table.start.lsn))
		return true;
	return reader.has_key() && origin.is_update;
}

bool Backfill::passes_filter(TableReader &reader)
{
	return pg::call([&] {
		filter_context_->ecxt_scantuple = reader.slot();
		bool is_null;
		Datum result = ExecEvalExprSwitchContext(filter_, filter_context_, &is_null);
		bool passes = !is_null && DatumGetBool(result);
		ResetExprContext(filter_context_);
		return passes;
	});
}

void Backfill::publish(TableReader &reader, std::string_view key, core::Position position)
{
	place_.clear();
	core::append_json_integer(place_, next_->id);
	place_.append('/');
	core::append_json_integer(place_, reader.relation()->rd_id);
	place_.append('/');
	size_t start = place_.size();
	place_.append(key);
	RowImage row = reader.row();
	pg::call([&] {
		convert_to_utf8(place_, start, BadBytes::keep);
		pg::enter([](Backfill *self, Relation relation, const RowImage *image,
					 core::Position p) { self->decoder_.snapshot_row(relation, *image, p, self->place_.view()); },
				  this, reader.relation(), &row, position);
	});
}

void Backfill::record(const Piece &piece, uint64_t sequence)
{
	catalog::SnapshotPlace &place = next_->place;
	bool all_read = place.ordinal >= (int64) next_->tables.size();
	place.rows += piece.rows;
	place.last_key = piece.last_key;
	pg::in_transaction("noting how far a snapshot has come", [&] {
		if (!all_read)
			catalog::record_chunk(next_->id, sequence, place);
		if (all_read || (piece.is_end_of_table && place.ordinal + 1 == (int64) next_->tables.size()))
			catalog::finish_snapshot(next_->id);
	});
	pg_atomic_fetch_add_u64(&worker::self().rows_snapshotted, (int64) piece.rows);
	if (piece.is_end_of_table)
		place.ordinal++;
	if (place.ordinal >= (int64) next_->tables.size()) {
		load();
		pg::call([] { ConditionVariableBroadcast(&worker::self().progress); });
	}
}

} // namespace pgbraid::flow
