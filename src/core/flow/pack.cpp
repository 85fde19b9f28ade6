#include "core/flow/pack.h"

#include <cassert>
#include <utility>

namespace pgbraid::core {

bool Pack::takes(const Kind &kind) const noexcept
{
	return rows_ > 0 && operation_ == kind.operation && subject_ == kind.subject && table_ == kind.table;
}

void Pack::open(const Kind &kind, std::string_view headers)
{
	assert(rows_ == 0);
	subject_ = kind.subject;
	table_ = kind.table;
	operation_ = kind.operation;
	headers_ = headers;
	bytes_.clear();
}

Bytes &Pack::begin_row()
{
	row_ = bytes_.size();
	if (rows_ > 0)
		bytes_.append(layout_ == Layout::array ? ',' : '\n');
	return bytes_;
}

bool Pack::end_row(Position position, std::string_view place)
{
	std::size_t brackets = layout_ == Layout::array ? 2 : 0;
	if (rows_ > 0 && bytes_.size() + brackets > most_bytes_) {
		carries_ = true;
		carried_ = position;
		carried_place_ = place;
		return true;
	}
	position_ = position;
	place_ = place;
	return ++rows_ >= most_rows_;
}

void Pack::take(Batch &batch, const History &history, std::string_view last_headers)
{
	assert(rows_ > 0);
	std::size_t own_headers = headers_.size();
	headers_ += last_headers;
	batch.begin(subject_, history, position_, headers_);
	headers_.resize(own_headers);
	std::string_view rows = bytes_.view(0, carries_ ? row_ : bytes_.size());
	if (layout_ == Layout::array)
		batch.payload().append('[');
	batch.payload().append(rows);
	if (layout_ == Layout::array)
		batch.payload().append(']');
	batch.end();
	given_before_ = std::exchange(given_, place_);
	rows_ = 0;
	if (!carries_)
		return bytes_.clear();
	bytes_.remove_prefix(row_ + 1);
	carries_ = false;
	position_ = carried_;
	place_.swap(carried_place_);
	rows_ = 1;
}

} // namespace pgbraid::core
