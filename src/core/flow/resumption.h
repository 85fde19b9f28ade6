// Where a flow goes on: decided from the end of its stream, from WAL, and from what it has noted of itself.
#pragma once
#include "core/flow/epoch.h"
#include "core/flow/outbox.h"
#include "core/flow/settling.h"
#include "core/flow/turns.h"

#include <vector>

namespace pgbraid::core {

// WAL of an earlier timeline is part of our history up to where the next one branched off.
struct Ancestor {
	std::uint32_t timeline;
	Lsn end;
};

// What is known when a worker starts. A sequence of 0 says that nothing is known.
struct Standing {
	std::uint64_t system = 0;
	Epoch epoch;					 // of this worker
	std::vector<Ancestor> ancestors; // of its timeline
	StreamTail tail;
	Lsn wal_end = 0;				  // nothing that was published can lie beyond it
	std::uint64_t first_sequence = 0; // the stream ended here before this flow wrote anything
	Checkpoint settled;				  // older than the durability horizon: WAL up to its lsn may be gone
	Checkpoint known;				  // the last that was acknowledged to an earlier worker; if only its position
									  // is known, by another stream

	// Of a flow that follows its family: others write to the stream as well, in turn.
	bool follows_family = false;
	std::optional<OwnEnd> own; // nothing, if this stream has nothing of ours to go on after
	Checkpoint before;		   // our last message when our last turn began, and where the stream ended then
};

enum class Course {
	go_on,		  // after `after`
	lost,		  // the stream lost what WAL may not have any more
	restored,	  // the stream has what this database, restored to an older state, does not have
	other_writer, // the stream is not ours
};

struct Resumption {
	Course course = Course::go_on;
	Position after{};		  // everything up to here is in the stream; nothing, if its lsn is 0
	bool went_back = false;	  // the stream lost acknowledged messages, which are published again
	bool has_undone = false;  // its last messages are of a history that a failover or a recovery has undone
	bool must_be_met = false; // WAL has the event at `after`, if the slot is not confirmed beyond it
	bool in_snapshot = false; // our last message is a row of a snapshot: tail.snapshot
	bool begins_turn = false; // others of the family have written since
};

Resumption resume_after(const Standing &standing);

} // namespace pgbraid::core
