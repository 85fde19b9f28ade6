#include "core/flow/batch.h"

#include <algorithm>
#include <cassert>

namespace pgbraid::core {

Batch::Batch(Like like)
{
	// An eighth more, since no batch is just as large as the one before. None is expected to be huge.
	constexpr std::size_t most_records = 4096, most_bytes = 128 << 10;
	auto records = like.before.records_.size(), bytes = like.before.bytes_.size();
	records_.reserve(std::min(records + records / 8, most_records));
	(void) bytes_.reserve(std::min(bytes + bytes / 8, most_bytes));
}

void Batch::begin(std::string_view subject, const History &history, Position position, std::string_view headers)
{
	std::size_t begin = bytes_.size();
	bytes_.append(subject);
	std::size_t id = bytes_.size();
	if (id_front_.empty() || history_ != history) {
		history_ = history;
		id_front_.clear();
		append_id_of_history(id_front_, history);
	}
	bytes_.append(id_front_.view());
	append_id_of_position(bytes_, position);
	auto id_size = bytes_.size() - id;
	bytes_.append(headers);
	open_ = {begin,
			 id,
			 bytes_.size(),
			 static_cast<std::uint32_t>(subject.size()),
			 static_cast<std::uint32_t>(id_size),
			 static_cast<std::uint32_t>(headers.size()),
			 0,
			 position};
}

void Batch::end()
{
	assert(bytes_.size() >= open_.payload);
	open_.payload_size = bytes_.size() - open_.payload;
	records_.push_back(open_);
}

// Subject and payload stay where they are.
void Batch::split_last(const History &history, const Division &division, std::uint32_t first, std::uint32_t part,
					   const std::string &earlier_headers)
{
	const Record whole = records_.back();
	assert(whole.position.part == Position::whole && whole.payload_size == division.size);
	const std::string headers{bytes_.view(whole.id + whole.id_size, whole.headers_size)};
	records_.pop_back();
	for (std::uint32_t number = first; number <= division.count; number++) {
		Record piece = whole;
		piece.position.part = number < division.count ? part++ : Position::whole;
		piece.id = bytes_.size();
		append_message_id(bytes_, history, piece.position);
		piece.id_size = static_cast<std::uint32_t>(bytes_.size() - piece.id);
		bytes_.append(number < division.count ? earlier_headers : headers);
		append_piece_headers(bytes_, division, number);
		piece.headers_size = static_cast<std::uint32_t>(bytes_.size() - piece.id - piece.id_size);
		piece.payload = whole.payload + division.begin(number);
		piece.payload_size = division.end(number) - division.begin(number);
		records_.push_back(piece);
	}
}

void Batch::drop_last() noexcept
{
	bytes_.truncate(records_.back().subject);
	records_.pop_back();
}

Batch::Message Batch::operator[](std::size_t index) const
{
	assert(index < records_.size());
	const Record &record = records_[index];
	return {bytes_.view(record.subject, record.subject_size), bytes_.view(record.id, record.id_size),
			bytes_.view(record.id + record.id_size, record.headers_size),
			bytes_.view(record.payload, record.payload_size), record.position};
}

} // namespace pgbraid::core
