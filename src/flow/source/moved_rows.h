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
	void watch(std::vector<Oid> tables) { tables_ = std::move(tables); } // those that are, or have been, read
	bool watches(Oid table) const noexcept { return std::find(tables_.begin(), tables_.end(), table) != tables_.end(); }

	void note(MovedRow row)
	{
		if (rows_.size() < most)
			rows_.push_back(std::move(row));
		else
			overflowed_ = true;
	}
	const std::deque<MovedRow> &rows() const noexcept { return rows_; }

	// The first ones have been read, and are in the stream.
	void were_read(size_t count, std::int64_t now)
	{
		for (; count > 0; count--) {
			read_.push_back({rows_.front().commit, now});
			rows_.pop_front();
		}
	}

	// There were too many: the tables must be read from their beginning.
	bool overflowed() const noexcept { return overflowed_; }
	void clear()
	{
		rows_.clear();
		overflowed_ = false;
	}

	// WAL from here on tells of rows that are still to be read, or were within the horizon; 0: of none.
	core::Lsn needs_wal_from(std::int64_t now, std::int64_t horizon)
	{
		while (!read_.empty() && now - read_.front().at >= horizon)
			read_.pop_front();
		return !read_.empty() ? read_.front().commit : rows_.empty() ? 0 : rows_.front().commit;
	}

private:
	static constexpr size_t most = 200'000;
	struct Read {
		core::Lsn commit;
		std::int64_t at;
	};
	std::vector<Oid> tables_;
	std::deque<MovedRow> rows_;
	std::deque<Read> read_;
	bool overflowed_ = false;
};

} // namespace pgbraid::flow
