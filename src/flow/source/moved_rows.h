// Rows that were given another key while their table was being read: they may have gone from where it was still to be
// read to where that was done. They are read once more, by their new key.
#pragma once
#include "core/flow/position.h"
#include "pg/prelude.h"

#include <algorithm>
#include <deque>
#include <optional>
#include <string>
#include <vector>

namespace pgbraid::flow {

struct MovedRow {
	Oid table;
	std::string key; // as TableReader::key() gives it
	core::Lsn commit;
};

class MovedRows {
public:
	void watch(std::vector<Oid> tables) { tables_ = std::move(tables); } // none: no table is being read
	bool watches(Oid table) const noexcept { return std::find(tables_.begin(), tables_.end(), table) != tables_.end(); }

	void note(MovedRow row) { rows_.push_back(std::move(row)); }
	const std::deque<MovedRow> &rows() const noexcept { return rows_; }
	void forget(size_t count) { rows_.erase(rows_.begin(), rows_.begin() + (std::ptrdiff_t) count); } // the first ones

	// WAL from here on tells of rows that are still to be read; 0: there are none.
	core::Lsn needs_wal_from() const noexcept { return rows_.empty() ? 0 : rows_.front().commit; }

private:
	std::vector<Oid> tables_;
	std::deque<MovedRow> rows_;
};

} // namespace pgbraid::flow
