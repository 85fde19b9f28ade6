// Messages that were too large and had to stay behind, on their way to the table pgbraid.dead_letters.
//
// While a transaction is being decoded, no table can be written: they are held back, in a temporary file when they are
// many, until save(). The slot must not be confirmed beyond unsaved_since() before that.
#pragma once
#include "core/flow/batch.h"

#include <string>
#include <vector>

struct BufFile;

namespace pgbraid::flow {

class DeadLetters {
public:
	explicit DeadLetters(int64 flow) : flow_(flow) {}
	~DeadLetters();
	DeadLetters(const DeadLetters &) = delete;
	DeadLetters &operator=(const DeadLetters &) = delete;

	// Copies the message. May ereport, with nothing taken in.
	void put_aside(const core::Batch::Message &message, std::string_view op, size_t max_payload);

	core::Lsn unsaved_since() const noexcept;
	void save(); // in an open transaction

private:
	struct Letter {
		core::Position position;
		std::string subject, id, op, headers, payload;
		size_t max_payload, size;
		bool is_in_file;
	};
	void write_to_file(std::string_view payload);
	void read_from_file(Letter &letter);

	int64 flow_;
	std::vector<Letter> letters_;
	size_t bytes_ = 0; // of the payloads in memory
	BufFile *file_ = nullptr;
};

} // namespace pgbraid::flow
