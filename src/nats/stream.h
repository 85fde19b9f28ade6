// Streams of JetStream: made if missing, widened when ours, read at their end.
#pragma once
#include "core/flow/turns.h"
#include "nats/connection.h"

#include <string>
#include <vector>

namespace pgbraid::nats {

struct StreamConfig {
	std::string name;
	std::string description;		   // begins with "pgbraid": that is how a stream of ours is known
	std::vector<std::string> subjects; // patterns it must listen on
	int replicas = 1;
	bool atomic = false; // it must take atomic batches
};

// After it, the stream exists and listens on all the subjects (core::covers). A stream of ours that lacks some is
// widened; one made by somebody else is left alone: 55000 "stream ... does not listen on ...", hint with both ways out.
// Other errors: 0A000 JetStream is off (hint: the server's `jetstream {}` block or -js), 42501 not permitted (hint: the
// $JS.API permissions), 55000 subjects overlap with another stream (hint: its name where the server tells it),
// 53100 no room, 57014/08006 no answer.
// 0A000 too if atomic batches are wanted from a server that has none (before 2.12).
// A missing stream is created with file storage, limits retention, discard old, and the default duplicate window.
Status ensure_stream(const Connection &connection, const StreamConfig &config);

// The last sequence of the stream, and what the headers of its last message say (if that message still exists).
// Answered by the stream's leader.
Result<core::StreamTail> read_tail(const Connection &connection, const std::string &stream);

// The first message from that sequence on, in the same form; nothing if there is none.
Result<std::optional<core::StreamTail>> read_message(const Connection &connection, const std::string &stream,
													 std::uint64_t sequence);

// Reads only: is JetStream on, may we ask? The account's limits in one line of text.
Result<std::string> jetstream_account(const Connection &connection);

} // namespace pgbraid::nats
