// Several rows in one message: where one message ends and the next begins. (options: rows_per_message)
//
// A pack has the position, and so the id, of its last row. Whoever resumes after that position goes on with the row
// that follows, so packs may end elsewhere after a restart, and yet no row is lost or repeated.
#pragma once
#include "core/flow/batch.h"

#include <cstddef>
#include <string>
#include <string_view>

namespace pgbraid::core {

class Pack {
public:
	enum class Layout { lines, array }; // rows separated by line feeds; or a JSON array of them

	// What all rows of one message share. `operation` is a number of the caller's choice.
	struct Kind {
		std::string_view subject, table;
		int operation;
	};

	static constexpr std::size_t default_most_bytes = 256 * 1024;

	Pack(Layout layout, std::size_t most_rows) : layout_(layout), most_rows_(most_rows) {}

	// Of a payload; a row that is larger goes alone. Holds from the next row on.
	void limit_bytes(std::size_t most) noexcept { most_bytes_ = most; }

	std::size_t most_rows() const noexcept { return most_rows_; }
	bool empty() const noexcept { return rows_ == 0; }

	// Can a row of this kind go on in the open pack? False if none is open.
	bool takes(const Kind &kind) const noexcept;

	// None may be open. `headers`: lines of the message, see Batch.
	void open(const Kind &kind, std::string_view headers);

	// begin_row .. end_row: one row, appended to what begin_row returned; up to end_row nobody knows of it.
	Bytes &begin_row();

	// True if the message is due: the caller calls take() at once. `place` is a text of the caller's that goes with the
	// row.
	bool end_row(Position position, std::string_view place = {});

	// Of the last row of the message that take() gives.
	Position position() const noexcept { return position_; }
	std::string_view place() const noexcept { return place_; }

	// Of the last row of the message that the last take() gave, and of the one before it: empty if either has none.
	std::string_view place_before() const noexcept { return given_.empty() ? std::string_view() : given_before_; }

	// Puts the message into the batch. Empty afterwards, unless the last row did not fit: it then begins the next pack.
	// `last_headers` depend on the last row, and follow the others.
	void take(Batch &batch, const History &history, std::string_view last_headers = {});

private:
	Layout layout_;
	std::size_t most_rows_;
	std::size_t most_bytes_ = default_most_bytes;
	std::string subject_, table_, headers_;
	int operation_ = 0;
	Bytes bytes_; // the rows, with a separator between them
	std::size_t rows_ = 0;
	Position position_;
	std::size_t row_ = 0;  // where the row begun last begins, its separator included
	bool carries_ = false; // it did not fit
	Position carried_;
	std::string place_, carried_place_, given_, given_before_;
};

} // namespace pgbraid::core
