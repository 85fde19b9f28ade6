// The rows of a change as JSON, as the formats show them: columns, names and masks are those of the plan. What is
// appended is in the encoding of the database.
#pragma once
#include "core/flow/position.h"
#include "flow/source/relation.h"

namespace pgbraid::flow {

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
	core::Lsn record_lsn = 0;		// of the change's own WAL record; 0: unknown
	std::string_view snapshot = {}; // where the snapshot stands that the row is of, with it and before it
	std::string_view snapshot_before = {};
};

// The row that has the column's value: `row`, or `other` (the old row) where `row` leaves it out as unchanged; null
// where neither has it.
const RowImage *row_with(const ColumnPlan &column, const RowImage &row, const RowImage &other);

// Format rows: the row alone, or what identifies it; nothing for a truncate.
void append_row(core::Bytes &to, const RelationPlan &plan, const Change &change);

// Formats json and cloudevents: ,"key":{...},"after":{...},"unchanged":[...],"before":{...}, those that apply.
void append_key_and_rows(core::Bytes &to, const RelationPlan &plan, const Change &change);

// {...} of the key's columns.
void append_key_object(core::Bytes &to, const RelationPlan &plan, const Change &change);

// Format debezium: "before":...,"after":..., either of them possibly null.
void append_before_and_after(core::Bytes &to, const RelationPlan &plan, const Change &change);

// A value of the column as text, masked if the plan says so: for subjects. May leave garbage in the current memory
// context.
void append_text(core::Bytes &to, const ColumnPlan &column, Datum value);

} // namespace pgbraid::flow
