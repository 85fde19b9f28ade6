// Messages on their way to the stream, encoded into one buffer: what the encoder fills and the publisher sends.
#pragma once
#include "core/base/bytes.h"
#include "core/flow/pieces.h"
#include "core/flow/position.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace pgbraid::core {

class Batch {
public:
	// A view into the batch, valid while it lives unchanged. `headers` are lines "Name: value\r\n".
	struct Message {
		std::string_view subject, id, headers, payload;
		Position position;
	};

	Batch() = default;
	struct Like {
		const Batch &before;
	};
	explicit Batch(Like like); // with room for as much as that one holds

	// begin .. payload() .. end: one message.
	void begin(std::string_view subject, const History &history, Position position, std::string_view headers = {});
	Bytes &payload() noexcept { return bytes_; }
	void end();

	// Replaces the last message, whose position is whole, by pieces of its payload: those from `first` (of 1 ...
	// count) on. The last one keeps the position, those before it get the parts `part`, `part` + 1, ...
	// Those also get other headers.
	void split_last(const History &history, const Division &division, std::uint32_t first, std::uint32_t part,
					const std::string &earlier_headers);
	void drop_last() noexcept;

	// Every commit up to this end LSN is wholly in this batch or in one before it.
	void complete_up_to(Lsn lsn) noexcept { complete_ = lsn; }
	Lsn complete_up_to() const noexcept { return complete_; }

	// The last transaction goes on in the next batch.
	void breaks_off(bool does) noexcept { breaks_off_ = does; }
	bool breaks_off() const noexcept { return breaks_off_; }

	// The stream must listen on this subject pattern before the batch is sent.
	void require_subject(std::string_view pattern) { required_subjects_.emplace_back(pattern); }
	const std::vector<std::string> &required_subjects() const noexcept { return required_subjects_; }

	std::size_t size() const noexcept { return records_.size(); }
	bool empty() const noexcept { return records_.empty(); }
	std::size_t bytes() const noexcept { return bytes_.size(); }
	Message operator[](std::size_t index) const;

private:
	struct Record { // the headers follow the id
		std::size_t subject, id, payload;
		std::uint32_t subject_size, id_size, headers_size;
		std::size_t payload_size;
		Position position;
	};
	Bytes bytes_;
	std::vector<Record> records_;
	Record open_{};
	History history_; // of the last message
	Bytes id_front_;  // its part of an id
	Lsn complete_ = 0;
	bool breaks_off_ = false;
	std::vector<std::string> required_subjects_;
};

} // namespace pgbraid::core
