#include "catalog/snapshots.h"

#include "pg/spi.h"

extern "C" {
#include "catalog/pg_type_d.h"
}

namespace pgbraid::catalog {

namespace {

using pg::spi::bigint;
using pg::spi::Row;

SnapshotStart start_from(const Row &row, int cutoff, int lsn)
{
	return {core::Cutoff::parse(row.text(cutoff)).value_or(core::Cutoff()), row.lsn(lsn)};
}

std::vector<SnapshotTable> read_tables(const Snapshot &snapshot)
{
	std::vector<SnapshotTable> tables;
	pg::spi::each(
		"SELECT relation, filenode, cutoff, begins_at FROM pgbraid.flow_snapshot_tables "
		" WHERE snapshot = $1 ORDER BY ordinal",
		{bigint(snapshot.id)}, [&](const Row &row) {
			tables.push_back({row.oid(1), row.oid(2), row.is_null(3) ? snapshot.start : start_from(row, 3, 4)});
		});
	return tables;
}

SnapshotPlace read_place(int64 snapshot)
{
	SnapshotPlace place;
	pg::spi::each("SELECT ordinal::bigint, last_key, rows FROM pgbraid.flow_snapshot_chunks WHERE snapshot = $1 "
				  " ORDER BY stream_sequence DESC LIMIT 1",
				  {bigint(snapshot)}, [&](const Row &row) {
					  place = {row.bigint(1), std::nullopt, (uint64) row.bigint(3)};
					  if (!row.is_null(2))
						  place.last_key = row.text(2);
					  else
						  place.ordinal++;
				  });
	return place;
}

} // namespace

std::optional<Snapshot> next_snapshot(int64 flow)
{
	std::optional<Snapshot> next;
	pg::spi::each("SELECT id, initial, filter, cutoff, begins_at FROM pgbraid.flow_snapshots "
				  " WHERE flow = $1 AND finished_at IS NULL ORDER BY id LIMIT 1",
				  {bigint(flow)}, [&](const Row &row) {
					  next.emplace();
					  next->id = row.bigint(1);
					  next->initial = row.boolean(2);
					  next->filter = row.text(3);
					  next->begun = !row.is_null(4);
					  next->start = start_from(row, 4, 5);
				  });
	if (!next)
		return next;
	pg::spi::each("SELECT unnest(tables)::oid FROM pgbraid.flow_snapshots WHERE id = $1", {bigint(next->id)},
				  [&](const Row &row) { next->wanted.push_back(row.oid(1)); });
	next->tables = read_tables(*next);
	next->place = read_place(next->id);
	return next;
}

int64 last_finished_snapshot(int64 flow)
{
	int64 last = 0;
	pg::spi::each("SELECT coalesce(min(id) FILTER (WHERE finished_at IS NULL) - 1, max(id), 0) "
				  "  FROM pgbraid.flow_snapshots WHERE flow = $1",
				  {bigint(flow)}, [&](const Row &row) { last = row.bigint(1); });
	return last;
}

std::optional<SnapshotStart> initial_start(int64 flow)
{
	std::optional<SnapshotStart> start;
	pg::spi::each("SELECT cutoff, begins_at FROM pgbraid.flow_snapshots "
				  " WHERE flow = $1 AND initial AND cutoff IS NOT NULL ORDER BY id DESC LIMIT 1",
				  {bigint(flow)}, [&](const Row &row) { start = start_from(row, 1, 2); });
	return start;
}

void begin_snapshot(int64 snapshot, const SnapshotStart &start, const std::vector<SnapshotTable> &tables)
{
	pg::spi::execute("UPDATE pgbraid.flow_snapshots SET cutoff = $2, begins_at = $3 WHERE id = $1",
					 {bigint(snapshot), pg::spi::text(start.cutoff.text()), pg::spi::lsn(start.lsn)});
	for (size_t i = 0; i < tables.size(); i++)
		pg::spi::execute(
			"INSERT INTO pgbraid.flow_snapshot_tables (snapshot, ordinal, relation, filenode) "
			"VALUES ($1, $2, $3, $4)",
			{bigint(snapshot), bigint((int64) i), pg::spi::oid(tables[i].relation), pg::spi::oid(tables[i].filenode)});
}

void restart_table(int64 snapshot, int64 ordinal, const SnapshotTable &table)
{
	pg::spi::execute("UPDATE pgbraid.flow_snapshot_tables SET filenode = $3, cutoff = $4, begins_at = $5 "
					 " WHERE snapshot = $1 AND ordinal = $2",
					 {bigint(snapshot), bigint(ordinal), pg::spi::oid(table.filenode),
					  pg::spi::text(table.start.cutoff.text()), pg::spi::lsn(table.start.lsn)});
}

void record_chunk(int64 snapshot, uint64 stream_sequence, const SnapshotPlace &place)
{
	pg::spi::execute("INSERT INTO pgbraid.flow_snapshot_chunks (snapshot, stream_sequence, ordinal, last_key, rows) "
					 "VALUES ($1, $2, $3, $4, $5) "
					 "ON CONFLICT (snapshot, stream_sequence) DO UPDATE SET ordinal = $3, last_key = $4, rows = $5",
					 {bigint(snapshot), bigint((int64) stream_sequence), bigint(place.ordinal),
					  place.last_key ? pg::spi::text(*place.last_key) : pg::spi::null(TEXTOID),
					  bigint((int64) place.rows)});
	pg::spi::execute("UPDATE pgbraid.flow_snapshots SET rows = $2 WHERE id = $1",
					 {bigint(snapshot), bigint((int64) place.rows)});
}

void finish_snapshot(int64 snapshot)
{
	pg::spi::execute("UPDATE pgbraid.flow_snapshots SET finished_at = now() WHERE id = $1", {bigint(snapshot)});
}

void reset_snapshots(int64 flow)
{
	constexpr char unfinished[] = "(SELECT id FROM pgbraid.flow_snapshots WHERE flow = $1 AND finished_at IS NULL)";
	using std::string;
	pg::spi::execute((string("DELETE FROM pgbraid.flow_snapshot_tables WHERE snapshot IN ") + unfinished).c_str(),
					 {bigint(flow)});
	pg::spi::execute((string("DELETE FROM pgbraid.flow_snapshot_chunks WHERE snapshot IN ") + unfinished).c_str(),
					 {bigint(flow)});
	pg::spi::execute("UPDATE pgbraid.flow_snapshots SET cutoff = NULL, begins_at = NULL, rows = 0 "
					 " WHERE flow = $1 AND finished_at IS NULL",
					 {bigint(flow)});
	// Their chunks speak of a stream that is told anew.
	pg::spi::execute("DELETE FROM pgbraid.flow_snapshot_chunks WHERE snapshot IN "
					 "(SELECT id FROM pgbraid.flow_snapshots WHERE flow = $1)",
					 {bigint(flow)});
}

bool rewind_snapshots(int64 flow, uint64 stream_sequence, int64 horizon_ms)
{
	bool forgotten = false;
	pg::spi::each("SELECT FROM pgbraid.flow_snapshots s JOIN pgbraid.flow_snapshot_chunks c ON c.snapshot = s.id "
				  " WHERE s.flow = $1 GROUP BY s.id "
				  "HAVING min(c.stream_sequence) > $2 "
				  "   AND min(c.made_at) < clock_timestamp() - $3 * interval '1 ms'",
				  {bigint(flow), bigint((int64) stream_sequence), bigint(horizon_ms)},
				  [&](const Row &) { forgotten = true; });
	if (forgotten)
		return false;
	pg::spi::execute("WITH gone AS (DELETE FROM pgbraid.flow_snapshot_chunks c USING pgbraid.flow_snapshots s "
					 "               WHERE s.flow = $1 AND c.snapshot = s.id AND c.stream_sequence > $2 "
					 "              RETURNING s.id) "
					 "UPDATE pgbraid.flow_snapshots SET finished_at = NULL WHERE id IN (SELECT id FROM gone)",
					 {bigint(flow), bigint((int64) stream_sequence)});
	return true;
}

void prune_chunks(int64 flow, int64 horizon_ms)
{
	pg::spi::execute("DELETE FROM pgbraid.flow_snapshot_chunks c USING pgbraid.flow_snapshots s "
					 " WHERE s.flow = $1 AND c.snapshot = s.id "
					 "   AND EXISTS (SELECT FROM pgbraid.flow_snapshot_chunks later "
					 "                WHERE later.snapshot = s.id AND later.stream_sequence > c.stream_sequence "
					 "                  AND later.made_at < clock_timestamp() - $2 * interval '1 ms')",
					 {bigint(flow), bigint(horizon_ms)});
}

std::vector<SnapshotTable> tables_to_read(const std::string &publication, const Snapshot &snapshot)
{
	std::vector<SnapshotTable> tables;
	pg::spi::each("SELECT c.oid, pg_relation_filenode(c.oid) FROM pg_class c "
				  " WHERE c.oid IN (SELECT pgbraid.published_tables($1)) AND c.relkind = 'r' " // roots hold no rows
				  "   AND ($2 OR EXISTS (SELECT FROM pgbraid.flow_snapshots s, unnest(s.tables) wanted "
				  "                       WHERE s.id = $3 AND (c.oid = wanted OR "
				  "                             c.oid IN (SELECT relid FROM pg_partition_tree(wanted))))) "
				  " ORDER BY c.oid",
				  {pg::spi::text(publication), pg::spi::boolean(snapshot.wanted.empty()), bigint(snapshot.id)},
				  [&](const Row &row) {
					  tables.push_back({row.oid(1), row.oid(2), snapshot.start});
				  });
	return tables;
}

} // namespace pgbraid::catalog
