#include "flow/source/backfill.h"

#include "core/flow/json.h"
#include "flow/source/condition.h"
#include "pg/encoding.h"
#include "pg/transaction.h"
#include "pg/wal.h"
#include "worker/process.h"

extern "C" {
#include "executor/executor.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "utils/inval.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
}

#include <charconv>

namespace pgbraid::flow {

namespace {

// A piece ends with the first of these: it is in memory until the stream has it, and changes wait for it.
constexpr uint64_t most_rows = 20'000;
constexpr uint64_t most_moved = 2'000;
constexpr size_t most_bytes = 2 << 20;
constexpr int most_ms = 200;

// What was looked up while the past was being decoded is not what is there now, nor the other way round.
void forget_catalog()
{
	pg::call([] { InvalidateSystemCaches(); });
}

// Who holds a lock of the kind that writers take.
void add_writers(Oid table, std::vector<VirtualTransactionId> &writers)
{
	LOCKTAG tag;
	SET_LOCKTAG_RELATION(tag, MyDatabaseId, table);
	int count;
	VirtualTransactionId *found = GetLockConflicts(&tag, ShareLock, &count);
	writers.insert(writers.end(), found, found + count);
}

// The snapshot that sees what is there after a lock was taken.
void renew_snapshot()
{
	pg::call([] {
		PopActiveSnapshot();
		PushActiveSnapshot(GetTransactionSnapshot());
	});
}

// "<snapshot>/<table>/<rows>/<key>", with a key of its own for a table that is done. A key that is sealed begins with a
// mark.
constexpr char table_done[] = "-", sealed_mark = '~';

} // namespace

Backfill::Backfill(int64 flow, std::string publication, const std::string &secret, Decoder &decoder, Outlet &outlet,
				   Callbacks callbacks)
	: flow_(flow), publication_(std::move(publication)), seal_(secret), decoder_(decoder), outlet_(outlet),
	  await_empty_(std::move(callbacks.await_empty)), save_notes_(std::move(callbacks.save_notes)),
	  await_durable_(std::move(callbacks.await_durable))
{
}

void Backfill::load()
{
	forget_catalog();
	pg::in_transaction("reading pgbraid.flow_snapshots", [&] {
		next_ = catalog::next_snapshot(flow_);
		pg_atomic_write_u64(&worker::self().finished_snapshot, (uint64) catalog::last_finished_snapshot(flow_));
	});
	all_read_at_ = pg::wal_end();
	watch_moves();
	show_progress();
}

void Backfill::watch_moves()
{
	std::vector<Oid> tables;
	for (size_t i = 0; next_ && i < next_->tables.size() && (int64) i <= next_->place.ordinal; i++)
		tables.push_back(next_->tables[i].relation);
	if (tables.empty())
		decoder_.moved_rows().clear();
	decoder_.moved_rows().watch(std::move(tables));
}

std::optional<Backfill::Place> Backfill::parse_place(std::string_view text) const
{
	Place place;
	const char *at = text.data(), *end = at + text.size();
	auto take = [&](auto &number) {
		auto [next, error] = std::from_chars(at, end, number);
		bool good = error == std::errc() && next != end && *next == '/';
		at = next + (good ? 1 : 0);
		return good;
	};
	if (!take(place.snapshot) || !take(place.table) || !take(place.rows))
		return std::nullopt;
	std::string_view key = {at, (size_t) (end - at)};
	std::optional<std::string> opened;
	if (!key.empty() && key[0] == sealed_mark) {
		opened = seal_.open(key.substr(1));
		if (!opened)
			return std::nullopt;
		key = *opened;
	}
	place.key = pg::from_utf8(key);
	return place;
}

// The catalog may not know of the last piece: then the stream does.
void Backfill::resume(std::string_view text, core::Position position)
{
	last_position_ = position;
	auto place = parse_place(text);
	if (!place || !next_ || next_->id != place->snapshot)
		return;
	before_ = text;
	for (size_t i = (size_t) next_->place.ordinal; i < next_->tables.size(); i++) {
		if (next_->tables[i].relation != place->table)
			continue;
		next_->place.ordinal = (int64) i + (place->key == table_done ? 1 : 0);
		next_->place.rows = place->rows;
		next_->place.last_key = place->key == table_done ? std::nullopt : std::optional<std::string>(place->key);
		break;
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
	if (end <= last_position_.lsn)
		return false;
	if (!next_->begun)
		return true;
	return end >= (all_read() ? all_read_at_ : next_->tables[(size_t) next_->place.ordinal].start.lsn);
}

bool Backfill::begin()
{
	forget_catalog();
	pg::in_transaction("beginning a snapshot", [&] {
		if (!next_->initial && !writers_have_ended())
			return;
		next_->start = take_start();
		next_->tables = catalog::tables_to_read(publication_, *next_);
		catalog::begin_snapshot(next_->id, next_->start, next_->tables);
		next_->begun = true;
	});
	forget_catalog();
	watch_moves();
	return next_->begun;
}

// Transactions that wrote to a table before it was published are not told as changes of it. So they must be part of the
// snapshot: those that run when it is asked for are waited for, and no others.
bool Backfill::writers_have_ended()
{
	if (!writers_) {
		writers_.emplace();
		for (const catalog::SnapshotTable &table : catalog::tables_to_read(publication_, *next_))
			pg::call([&] { add_writers(table.relation, *writers_); });
	}
	auto has_ended = [](const VirtualTransactionId &writer) {
		return pg::call([&] { return VirtualXactLock(writer, false); });
	};
	std::erase_if(*writers_, has_ended);
	bool ended = writers_->empty();
	if (ended)
		writers_.reset();
	return ended;
}

bool Backfill::work(core::Lsn end)
{
	if (!next_->begun)
		return begin();
	if (decoder_.moved_rows().overflowed())
		start_over();
	outlet_.flush();
	outlet_.may_wait(false);
	forget_catalog();
	Piece piece = read_piece(end);
	forget_catalog();
	outlet_.may_wait(true);
	if (!piece.was_read)
		return false;
	await_durable_(); // rows are there before WAL is, and notes too
	decoder_.close_pack();
	outlet_.flush();
	record(piece, await_empty_());
	await_durable_();
	return true;
}

// In a snapshot of its own, since READ COMMITTED.
Backfill::Piece Backfill::read_piece(core::Lsn end)
{
	Piece piece;
	Oid other_filenode = InvalidOid;
	pg::in_transaction("reading a table", [&] {
		if (!all_read() && !lock_for_reading(present_table()))
			return;
		renew_snapshot();
		if (decoder_.recent_commits().is_any_hidden())
			return;
		piece.was_read = true;
		piece.is_end_of_table = true;
		decoder_.begin_snapshot_rows(end - 1);
		if (!all_read())
			other_filenode = read_table(end - 1, piece);
		if (!OidIsValid(other_filenode))
			read_moved(end - 1, piece);
		save_notes_();
	});
	if (OidIsValid(other_filenode)) {
		renew_table(other_filenode);
		piece.was_read = false;
	}
	return piece;
}

// Returns the file that the table has now, if it is not the one that it had.
Oid Backfill::read_table(core::Lsn lsn, Piece &piece)
{
	const catalog::SnapshotTable &table = next_->tables[(size_t) next_->place.ordinal];
	TableReader reader(table.relation, next_->place.last_key);
	Oid other_filenode = InvalidOid;
	if (reader.exists() && reader.filenode() != table.filenode)
		other_filenode = reader.filenode();
	else if (reader.exists()) // else it was dropped since
		read_rows(reader, table, lsn, piece);
	reader.close();
	return other_filenode;
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
	});
}

// So many rows were given other keys that they can't be kept in mind.
void Backfill::start_over()
{
	ereport(LOG, (errmsg("a snapshot begins with its first table again: too many keys were changed meanwhile")));
	decoder_.moved_rows().clear();
	next_->place.ordinal = 0;
	next_->place.last_key.reset();
	watch_moves();
}

void Backfill::read_rows(TableReader &reader, const catalog::SnapshotTable &table, core::Lsn lsn, Piece &piece)
{
	TimestampTz deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), most_ms);
	uint64_t seen = 0, published_before = outlet_.bytes_passed();
	core::Position position{lsn, last_position_.lsn == lsn ? last_position_.seq : 0};
	pg::call([&] {
		pg::enter(
			[](Backfill *self, Relation relation) { self->hides_key_ = self->decoder_.hides_reading_key(relation); },
			this, reader.relation());
	});
	begin_filter(reader.relation());
	while ((piece.is_end_of_table = !reader.next()) == false) {
		bool is_last = ++seen >= most_rows || outlet_.bytes_passed() - published_before > most_bytes ||
					   (seen % 256 == 0 && GetCurrentTimestamp() >= deadline);
		bool is_published = belongs(reader, table) && (next_->filter.empty() || passes_filter(reader));
		if (is_published || is_last) {
			std::string_view key = reader.key();
			if (is_published) {
				position.seq++;
				piece.rows++;
				publish(reader, key, position, next_->place.rows + piece.rows);
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

void Backfill::begin_filter(Relation relation)
{
	if (!next_->filter.empty())
		pg::call([&] {
			filter_ = ExecInitExpr(parse_condition(relation, next_->filter.c_str()), nullptr);
			filter_context_ = CreateStandaloneExprContext();
		});
}

// Those of tables that are still to come need no help: a row is read as it is, wherever it went.
void Backfill::read_moved(core::Lsn lsn, Piece &piece)
{
	core::Position position{lsn, last_position_.lsn == lsn ? last_position_.seq : 0};
	uint64_t published_before = outlet_.bytes_passed();
	for (const MovedRow &moved : decoder_.moved_rows().rows()) {
		if (piece.moved == most_moved || outlet_.bytes_passed() - published_before > most_bytes ||
			!lock_for_reading(moved.table))
			break;
		piece.moved++;
		TableReader reader(moved.table, moved.key, From::exactly);
		if (reader.exists() && reader.has_key() && reader.next()) {
			begin_filter(reader.relation());
			if (next_->filter.empty() || passes_filter(reader)) {
				position.seq++;
				piece.rows++;
				publish(reader, piece.is_end_of_table ? table_done : piece.last_key.value_or(""), position,
						next_->place.rows + piece.rows);
				last_position_ = position;
			}
		}
		reader.close();
	}
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

// Where the snapshot stands, which need not be where the row is from.
Oid Backfill::present_table() const
{
	size_t ordinal = (size_t) next_->place.ordinal;
	return next_->tables[Min(ordinal, next_->tables.size() - 1)].relation;
}

void Backfill::append_place(std::string_view key, uint64_t rows)
{
	place_.clear();
	core::append_json_integer(place_, next_->id);
	place_.append('/');
	core::append_json_integer(place_, present_table());
	place_.append('/');
	core::append_json_integer(place_, (int64) rows);
	place_.append('/');
	size_t start = place_.size();
	place_.append(key);
	pg::call([&] { convert_to_utf8(place_, start, BadBytes::keep); });
	if (!hides_key_ || key.empty() || key == table_done)
		return;
	std::string plain(place_.view(start));
	place_.truncate(start);
	place_.append(sealed_mark);
	seal_.append(place_, plain);
}

void Backfill::publish(TableReader &reader, std::string_view key, core::Position position, uint64_t rows)
{
	append_place(key, rows);
	RowImage row = reader.row();
	pg::call([&] {
		pg::enter(
			[](Backfill *self, Relation relation, const RowImage *image, core::Position p) {
				self->decoder_.snapshot_row(relation, *image, p, {self->place_.view(), self->before_});
			},
			this, reader.relation(), &row, position);
	});
	before_ = place_.view();
}

void Backfill::record(const Piece &piece, uint64_t sequence)
{
	catalog::SnapshotPlace &place = next_->place;
	place.rows += piece.rows;
	place.last_key = piece.last_key;
	decoder_.moved_rows().were_read(piece.moved, GetCurrentTimestamp());
	before_.clear(); // the catalog knows
	bool was_all_read = all_read();
	bool finished = was_all_read && decoder_.moved_rows().rows().empty();
	pg::in_transaction("noting how far a snapshot has come", [&] {
		catalog::record_chunk(next_->id, sequence, place);
		if (finished)
			catalog::finish_snapshot(next_->id);
	});
	pg_atomic_fetch_add_u64(&worker::self().rows_snapshotted, (int64) piece.rows);
	if (piece.is_end_of_table && !was_all_read) {
		place.ordinal++;
		watch_moves();
	}
	if (!was_all_read && all_read())
		all_read_at_ = pg::wal_end();
	if (finished) {
		load();
		pg::call([] { ConditionVariableBroadcast(&worker::self().progress); });
	}
}

} // namespace pgbraid::flow
