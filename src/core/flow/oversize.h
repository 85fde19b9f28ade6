// What becomes of a message that is larger than the NATS server takes.
#pragma once
#include "core/flow/outbox.h"

namespace pgbraid::core {

enum class OversizeMode { split, dead_letter, stop };

// The headers of a snapshot's row, as they are while the row is not yet there: without the mark of where the snapshot
// stands, or with the one before.
std::string headers_before(std::string_view headers, std::string_view snapshot_before);

class Oversize {
public:
	// `max_payload` of the server, headers included.
	Oversize(OversizeMode mode, History history, std::size_t max_payload, const StreamTail &tail);

	OversizeMode mode() const noexcept { return mode_; }
	std::size_t max_payload() const noexcept { return max_payload_; }

	bool is_too_large(const Batch::Message &message) const noexcept
	{
		return message.payload.size() + message.headers.size() > limit_;
	}

	// Replaces the last message of the batch by pieces: those that the stream does not have. Where it is the row of a
	// snapshot, only the last piece says so; those before it say where the snapshot stands without the row.
	void split(Batch &batch, std::string_view snapshot_before = {});

private:
	// Room for the headers that the publisher adds.
	static constexpr std::size_t headers_room = 1024;

	OversizeMode mode_;
	History history_;
	std::size_t max_payload_, limit_;
	Position tail_;
	std::optional<Piece> piece_; // at the tail
	std::string tail_subject_;
};

} // namespace pgbraid::core
