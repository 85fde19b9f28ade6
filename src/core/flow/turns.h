// A stream that the branches of a family write to in turn: each has its flow of the same number, and the one whose
// database is checked out writes. What is a branch's own in it ends somewhere before the end of the stream, and that is
// what the worker of a branch that is checked out again has to find.
//
// Within one turn nobody else's messages come between ours, since the server refuses whatever does not follow. So the
// messages after the begin of our last turn are ours up to one, and others' from there on.
#pragma once
#include "core/flow/epoch.h"
#include "core/flow/outbox.h"

#include <functional>

namespace pgbraid::core {

// What is known of our last turn. Sequences of 0 say that nothing is known.
struct Turn {
	std::uint64_t system = 0;
	Epoch epoch;					  // of this worker
	std::uint64_t first_sequence = 0; // the stream ended here when the turn began
	std::uint64_t message_before = 0; // our last message by then
	std::uint64_t known = 0;		  // our last message that was acknowledged to an earlier worker
	std::uint64_t settled = 0;		  // the same, older than the durability horizon
};

// Where a stream with nothing but our messages would end: `tail.sequence` is as far as our turn is known to have gone,
// `tail.last` our last message, if it is there, and `message` its sequence.
struct OwnEnd {
	StreamTail tail;
	std::uint64_t message = 0;
};

// The first message of the stream from that sequence on, if there is one.
using Look = std::function<Result<std::optional<StreamTail>>(std::uint64_t)>;

// Takes about as many looks as the number of messages since `known` has binary digits. A message that was taken out of
// the stream is believed to be ours if that is how it is known.
Result<OwnEnd> find_own_end(const Turn &turn, const StreamTail &tail, const Look &look);

// Is the last message that of the same flow in another database of the same cluster, as far as its history is ours?
bool is_of_family(const StreamTail &tail, std::uint64_t system, const Epoch &epoch);

} // namespace pgbraid::core
