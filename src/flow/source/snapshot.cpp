#include "flow/source/snapshot.h"

#include "pg/encoding.h"
#include "pg/spi.h"

extern "C" {
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/partition.h"
#include "executor/tuptable.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
}

#include <vector>

namespace pgbraid::flow {

namespace {

// The tables that hold rows: a published partition root stands for its leaves.
constexpr char select_leaves[] =
	"SELECT DISTINCT leaf.relid::oid FROM pg_publication_tables p "
	"  JOIN pg_class c ON c.relname = p.tablename "
	"  JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = p.schemaname, "
	"  LATERAL (SELECT relid FROM pg_partition_tree(c.oid) "
	"           UNION SELECT c.oid) leaf JOIN pg_class l ON l.oid = leaf.relid "
	" WHERE p.pubname = $1 AND l.relkind = 'r' ORDER BY 1"; // neither roots nor foreign tables

std::vector<Oid> tables_of(const std::string &publication)
{
	std::vector<Oid> tables;
	pg::spi::each(select_leaves, {pg::spi::text(publication)},
				  [&](const pg::spi::Row &row) { tables.push_back(row.oid(1)); });
	return tables;
}

// Keeps the tables as they are until the transaction ends. One that was rewritten since the snapshot looks empty to it,
// and the rewrite is no change that the slot gives: then everything begins anew.
void lock_tables(const std::vector<Oid> &tables)
{
	for (Oid table : tables) {
		Oid file = pg::call([&] {
			Relation relation = table_open(table, AccessShareLock);
			Oid current = relation->rd_rel->relfilenode;
			table_close(relation, NoLock);
			return current;
		});
		bool same = false;
		pg::spi::each("SELECT relfilenode = $2 FROM pg_class WHERE oid = $1", {pg::spi::oid(table), pg::spi::oid(file)},
					  [&](const pg::spi::Row &row) { same = row.boolean(1); });
		if (!same)
			throw pg::Failure({.sqlstate = "40001",
							   .message = "a table was rewritten while the initial snapshot began",
							   .hint = "The snapshot is taken again by itself."});
	}
}

class TableScan {
public:
	explicit TableScan(Oid table)
	{
		pg::call([&] {
			relation_ = table_open(table, AccessShareLock);
			slot_ = table_slot_create(relation_, nullptr);
			scan_ = table_beginscan(relation_, GetActiveSnapshot(), 0, nullptr);
		});
	}

	// False at the end of the table.
	bool next(RowImage &row)
	{
		return pg::call([&] {
			if (!table_scan_getnextslot(scan_, ForwardScanDirection, slot_))
				return false;
			slot_getallattrs(slot_);
			row = {slot_->tts_values, slot_->tts_isnull, true};
			return true;
		});
	}

	void finish()
	{
		pg::call([&] {
			table_endscan(scan_);
			ExecDropSingleTupleTableSlot(slot_);
			table_close(relation_, AccessShareLock);
		});
	}

	Relation relation() const noexcept { return relation_; }

private:
	Relation relation_;
	TupleTableSlot *slot_;
	TableScanDesc scan_;
};

void publish_row(Decoder &decoder, Relation relation, const RowImage &row, core::Position position)
{
	pg::call([&] {
		pg::enter(
			[](Decoder *d, Relation r, const RowImage *image, core::Position p) { d->snapshot_row(r, *image, p); },
			&decoder, relation, &row, position);
	});
}

} // namespace

void publish_snapshot(Decoder &decoder, const std::string &publication, core::Lsn lsn,
					  const std::function<void(uint64_t rows)> &each_row)
{
	uint64_t rows = 0;
	std::vector<Oid> tables = tables_of(publication);
	lock_tables(tables);
	for (Oid table : tables) {
		TableScan scan(table);
		RowImage row;
		while (scan.next(row)) {
			publish_row(decoder, scan.relation(), row, {lsn, ++rows});
			each_row(rows);
		}
		scan.finish();
	}
}

std::vector<std::string> subjects_of(const std::string &publication, const core::SubjectTemplate &subject,
									 const std::string &database)
{
	std::vector<std::string> patterns;
	pg::spi::each("SELECT p.puballtables OR EXISTS (SELECT FROM pg_publication_namespace n WHERE n.pnpubid = p.oid) "
				  "  FROM pg_publication p WHERE pubname = $1",
				  {pg::spi::text(publication)}, [&](const pg::spi::Row &row) {
					  if (row.boolean(1))
						  patterns.push_back(
							  subject.pattern({.database = database, .schema = {}, .table = {}, .op = {}, .key = {}}));
				  });
	if (!patterns.empty())
		return patterns;
	pg::spi::each("SELECT schemaname, tablename FROM pg_publication_tables WHERE pubname = $1 ORDER BY 1, 2",
				  {pg::spi::text(publication)}, [&](const pg::spi::Row &row) {
					  std::string schema = pg::to_utf8(row.text(1)), table = pg::to_utf8(row.text(2));
					  patterns.push_back(subject.pattern(
						  {.database = database, .schema = schema, .table = table, .op = {}, .key = {}}));
				  });
	return patterns;
}

} // namespace pgbraid::flow
