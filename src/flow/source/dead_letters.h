// Messages that were too large and had to stay behind, on their way to the table pgbraid.dead_letters.
//
// While a transaction is being decoded, no table can be written: they are held back, in a temporary file when they are
// many, until they are saved. The slot must not be confirmed beyond them before that.
#pragma once
#include "core/flow/batch.h"

#include <deque>
#include <string>

struct BufFile;

namespace pgbraid::flow {

class DeadLetters {
public:
	explicit DeadLetters(int64 flow) : flow_(flow) {}
	DeadLetters(const DeadLetters &) = delete;
	DeadLetters &operator=(const DeadLetters &) = delete;

	// Copies the message. May ereport, with nothing taken in.
	void put_aside(const core::Batch::Message &message, std::string_view op, size_t max_payload);

	// Those of positions that the stream does not have will be met again, perhaps by another definition.
	void forget_beyond(const core::History &history, core::Position stored);

	bool has_unsaved() const noexcept { return !letters_.empty(); }

	// Of as many as go into 8 MB, one at least. In an open transaction.
	void save_some();

private:
	struct Letter {
		core::Position position;
		std::string subject, id, op, headers, payload;
		size_t max_payload, size;
		bool is_in_file;
	};
	void write_to_file(std::string_view payload);
	void read_from_file(Letter &letter);
	void save(Letter &letter);

	int64 flow_;
	std::deque<Letter> letters_;
	size_t bytes_ = 0;		  // of the payloads in memory
	BufFile *file_ = nullptr; // ends with the process at the latest
	bool is_reading_ = false; // from its beginning on
};

} // namespace pgbraid::flow
