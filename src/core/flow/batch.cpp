#include "core/flow/batch.h"

#include <cassert>

namespace pgbraid::core {

void Batch::begin(std::string_view subject, const History &history, Position position, std::string_view headers)
{
	std::size_t begin = bytes_.size();
	bytes_.append(subject);
	append_message_id(bytes_, history, position);
	auto id_size = bytes_.size() - begin - subject.size();
	bytes_.append(headers);
	open_ = {begin,
			 static_cast<std::uint32_t>(subject.size()),
			 static_cast<std::uint32_t>(id_size),
			 static_cast<std::uint32_t>(headers.size()),
			 0,
			 position};
}

void Batch::end()
{
	std::size_t payload = open_.begin + open_.subject_size + open_.id_size + open_.headers_size;
	assert(bytes_.size() >= payload);
	open_.payload_size = bytes_.size() - payload;
	records_.push_back(open_);
}

Batch::Message Batch::operator[](std::size_t index) const
{
	assert(index < records_.size());
	const Record &record = records_[index];
	std::size_t id = record.begin + record.subject_size;
	std::size_t headers = id + record.id_size;
	std::size_t payload = headers + record.headers_size;
	return {bytes_.view(record.begin, record.subject_size), bytes_.view(id, record.id_size),
			bytes_.view(headers, record.headers_size), bytes_.view(payload, record.payload_size), record.position};
}

} // namespace pgbraid::core
