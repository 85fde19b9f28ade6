// Turns the rows of a change into messages of a batch, in the format of the flow.
#pragma once
#include "core/flow/batch.h"
#include "core/flow/event.h"
#include "core/flow/subject.h"
#include "flow/source/relation.h"

namespace pgbraid::flow {

enum class Format { json, rows };

enum class Operation { snapshot, insert, update, remove, truncate };
const char *name_of(Operation operation);

// A row taken apart: values and nulls by stored column. `values` null: there is no such row.
struct RowImage {
	const Datum *values = nullptr;
	const bool *nulls = nullptr;
	bool is_from_table = false; // values stored out of line can be read; those in WAL that are unchanged can not
};

struct Change {
	Operation operation;
	core::Position position;
	RowImage after, before;			// an insert may have a `before`, to take unchanged values from
	std::string_view snapshot = {}; // where the snapshot stands that the row is of, with it and before it
	std::string_view snapshot_before = {};
};

// The row that has the column's value: `row`, or `other` (the old row) where `row` leaves it out as unchanged; null
// where neither has it.
const RowImage *row_with(const ColumnPlan &column, const RowImage &row, const RowImage &other);

class Encoder {
public:
	// `database` in UTF-8.
	Encoder(Format format, core::SubjectTemplate subject, std::string database, core::History history);

	void start_transaction(core::Lsn commit_lsn, TransactionId xid, TimestampTz commit_time);

	// Fills in what depends on the flow in a new plan, and returns the pattern that its subjects match; the view is
	// valid until the next call.
	std::string_view prepare(RelationPlan &plan);

	// Appends one message. After an ereport the batch holds half a message: it is of no more use.
	void append(core::Batch &batch, const RelationPlan &plan, const Change &change);

	// In place of one whose payload of `size` bytes is too large: what it is about, and its key if that is wanted.
	void append_stub(core::Batch &batch, const RelationPlan &plan, const Change &change, size_t size, bool with_key);

	// The subject of what is said of the table itself; valid until the next call.
	std::string_view subject_of_table(const RelationPlan &plan, const char *op);

private:
	std::string_view subject_of(const RelationPlan &plan, const Change &change);
	std::string_view headers_of(const Change &change);
	void append_json(core::Bytes &to, const RelationPlan &plan, const Change &change);

	Format format_;
	core::SubjectTemplate template_;
	std::string database_;
	core::History history_;
	core::TransactionFrame transaction_;
	core::Bytes subject_, key_, headers_; // members, since an ereport would skip the destructors of locals
	std::string pattern_;
};

} // namespace pgbraid::flow
