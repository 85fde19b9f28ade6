// What has been handed over for publishing and is not yet known to be stored: the pure half of the publisher.
//
// The stream has one writer, so the message that follows stream sequence n is n + 1; every publish names the
// message that it follows, by its sequence or its id, and the server refuses it, and all after it, when one before it
// was not stored. One acknowledgement therefore speaks for every message before it, and few are asked for. On any doubt
// (a lost connection, a refusal, silence) the publisher reads the last message of the stream and calls resume() with
// it.
#pragma once
#include "core/base/result.h"
#include "core/flow/batch.h"

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>

namespace pgbraid::core {

// The end of the stream: its last sequence, and the last message's id if it has one that we can read. `snapshot` is
// where a snapshot stood, if the last message is one of its rows (header Pgbraid-Snapshot). `piece` is set, and
// `subject` with it, if the last message is a part of one that was too large. `max_message` is what the stream takes,
// headers included; 0: any size.
struct StreamTail {
	std::uint64_t sequence = 0;
	std::optional<MessageId> last;
	std::string snapshot = {};
	std::optional<Piece> piece = {};
	std::string subject = {};
	std::uint64_t max_message = 0;
};

class Outbox {
public:
	explicit Outbox(History history) : history_(std::move(history)) {}

	// A batch without messages is legal: it is complete once all before it are stored.
	void add(std::unique_ptr<Batch> batch);

	// The first resume() of an outbox's life takes the tail as it is: whatever the stream holds, our first message
	// follows it. (The decoder has been told the tail's position and does not produce what is already there.) Later
	// ones compare: messages of ours up to the tail are stored, those after it will be sent again. Fails with XX001 if
	// the stream lost messages that it had acknowledged, with 55000 if its tail is none of our unacknowledged messages:
	// somebody else writes to it. The outbox is then as it was.
	// Between the reading of the tail and resume() there may be no acknowledged(): the tail would seem to have gone
	// back.
	Status resume(const StreamTail &tail);

	// The message to send next and the stream sequence that it must follow; nothing when all is sent, and before the
	// first resume(). A message is counted as sent by sent().
	struct Next {
		Batch::Message message;
		std::uint64_t expected_sequence;
		const Batch *batch;
		bool first_of_batch, last_of_batch;
	};
	std::optional<Next> next() const;
	void sent() noexcept;

	// What follows from next() on and may go as one: whole transactions (messages of one LSN each), as many as `most`
	// allows. Where one alone is more than that, it is what there is of it, and not whole. No messages: the rest of the
	// transaction is still to come.
	struct Limit {
		std::uint64_t messages;
		std::size_t bytes;	// as Batch::bytes() counts them
		std::size_t memory; // above so many unacknowledged bytes nothing more will be handed over
	};
	struct Group {
		std::uint64_t messages = 0;
		bool is_whole = false;
	};
	Group next_group(const Limit &most) const;

	// The server has stored everything up to this stream sequence. Lower or repeated values are ignored, and so are
	// those beyond sent_sequence(): late answers to what an earlier connection sent. The next tail tells.
	void acknowledged(std::uint64_t sequence);

	std::size_t unacknowledged_bytes() const noexcept { return bytes_; }
	std::uint64_t unacknowledged_messages() const noexcept;				   // handed over, whether sent or not
	std::uint64_t sent_sequence() const noexcept { return base_ + sent_; } // last sent, as a stream sequence
	std::uint64_t acknowledged_sequence() const noexcept { return base_; }
	// Of the message at that sequence, if it has one that we know.
	const std::optional<MessageId> &acknowledged_id() const noexcept { return base_id_; }
	std::uint64_t acknowledged_messages() const noexcept { return acknowledged_; } // since construction
	Lsn complete_up_to() const noexcept { return complete_; } // every commit up to here is stored; monotonic

private:
	bool is_ours(const StreamTail &tail) const;
	void store(std::uint64_t count); // the first `count` unacknowledged messages
	void drop_finished() noexcept;
	void drop_front() noexcept;
	void skip_finished() noexcept;

	// base_ is the sequence of the last message known to be stored, base_id_ its id if we know it. The unacknowledged
	// messages follow it in order: those of front() from front_offset_, then the rest. The first sent_ of them have
	// been sent.
	History history_;
	std::deque<std::unique_ptr<Batch>> batches_;
	std::size_t front_offset_ = 0;
	std::uint64_t base_ = 0;
	std::optional<MessageId> base_id_;
	std::uint64_t sent_ = 0;
	std::size_t send_batch_ = 0, send_offset_ = 0; // where next() stands
	std::size_t bytes_ = 0;
	std::uint64_t total_messages_ = 0, acknowledged_ = 0;
	Lsn complete_ = 0;
	bool resumed_ = false;
};

} // namespace pgbraid::core
