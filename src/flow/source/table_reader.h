// Reads a table piece by piece, each piece in a transaction of its own: in the order of its key, or where it has none
// in the order in which it lies on disk.
#pragma once
#include "core/base/bytes.h"
#include "flow/source/encoder.h"

extern "C" {
#include "access/genam.h"
#include "access/relscan.h"
#include "access/skey.h"
#include "executor/tuptable.h"
#include "utils/rel.h"
}

#include <optional>
#include <string>

namespace pgbraid::flow {

// Where a row comes from.
struct RowOrigin {
	TransactionId writer;
	bool is_frozen;		 // the writer's id may be that of a transaction of long ago
	bool is_update;		 // of an earlier version of the row
	XLogRecPtr page_lsn; // last change of its page
};

// The index by whose order a table is read: that of the replica identity, or of the primary key where the identity is
// the whole row. InvalidOid where there is none.
Oid reading_index(Relation table);

void append_key_part(core::Bytes &to, Oid type, Datum value);

// Names a row among those of its table: a JSON array of the texts of the index' columns. One line in the encoding of
// the database. `value_of` gives the value of a column of the table, which is not null.
template <typename F>
void append_key(core::Bytes &to, Relation table, Relation index, F &&value_of)
{
	to.append('[');
	for (int i = 0; i < IndexRelationGetNumberOfKeyAttributes(index); i++) {
		if (i > 0)
			to.append(',');
		AttrNumber column = index->rd_index->indkey.values[i];
		append_key_part(to, TupleDescAttr(RelationGetDescr(table), column - 1)->atttypid, value_of(column));
	}
	to.append(']');
}

enum class From { after, exactly };

// Lives within one transaction that has an active snapshot; nothing needs to be released but by close().
class TableReader {
public:
	// `key`: what key() gave for the row to go on after, or for the one row to read.
	TableReader(Oid table, const std::optional<std::string> &key, From from = From::after);

	bool exists() const noexcept { return table_ != nullptr; } // else it was dropped
	bool has_key() const noexcept { return index_ != nullptr; }
	Relation relation() const noexcept { return table_; }
	Oid filenode() const noexcept { return table_->rd_rel->relfilenode; }

	bool next(); // false at the end of the table
	RowImage row() const noexcept { return {slot_->tts_values, slot_->tts_isnull, true}; }
	RowOrigin origin() const;
	TupleTableSlot *slot() const noexcept { return slot_; }

	// Names the present row among those of its table: a JSON array of the key's texts, or of block and line. One line
	// in the encoding of the database. The view is valid until the next call.
	std::string_view key();

	void close();

private:
	void open(Oid table);
	void begin_by_key(const std::vector<std::string> &key, From from);
	void begin_by_place(const std::vector<std::string> &key);
	ScanKeyData scan_key(int column, const std::string &text, From from);

	Relation table_ = nullptr, index_ = nullptr;
	IndexScanDesc index_scan_ = nullptr;
	TableScanDesc table_scan_ = nullptr;
	TupleTableSlot *slot_ = nullptr;
	ScanKeyData keys_[INDEX_MAX_KEYS];
	core::Bytes key_;
};

} // namespace pgbraid::flow
