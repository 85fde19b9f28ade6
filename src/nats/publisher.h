// Publishes batches to one stream, in order, exactly once, for ever: connects, makes the stream, sends, collects
// acknowledgements, and on any doubt reads the end of the stream again and goes on after it.
//
// All work happens on one thread of its own (every signal blocked); whoever owns the publisher never blocks: it hands
// over batches, reads progress(), and sleeps on an eventfd that is written whenever progress changed.
#pragma once
#include "core/flow/outbox.h"
#include "nats/connection.h"
#include "nats/stream.h"

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>

namespace pgbraid::nats {

class Mailbox;

struct PublisherOptions {
	ConnectionOptions connection;
	StreamConfig stream;
	core::History history;
	std::optional<core::Turn> turn; // where others of a family write to the stream as well
	// Nats-Msg-Id (the server then also de-duplicates), else Pgbraid-Id with the same value. Only with the former is a
	// foreign writer noticed whenever it writes; with the latter, a message of ours whose place it takes can be lost.
	bool message_id = true;
	// Where the stream takes atomic batches (StreamConfig::atomic): a transaction of at most so many bytes is one.
	std::size_t atomic_bytes = 8 << 20;
	std::size_t memory = 16 << 20;				 // who submits waits while more than this is unacknowledged
	std::size_t ack_messages = 2000;			 // an acknowledgement is asked for at least this often,
	std::size_t ack_bytes = 1 << 20;			 // and when nothing more is waiting to be sent
	std::chrono::milliseconds ack_timeout{5000}; // silence for this long is a doubt
	std::chrono::milliseconds retry_delay{100}, retry_delay_max{10000}; // exponential, with jitter
};

class Publisher {
public:
	enum class State { connecting, ready, broken };
	// broken: it has ended and will not go on; `error` says why (the outbox could not be resumed, see Outbox::resume,
	// or a message can never be sent: 54000 above max_payload, 22023 a subject the server does not take).

	struct Progress {
		State state = State::connecting;
		std::optional<core::StreamTail> tail; // as found on the first connection; set before `ready` is first seen
		std::optional<core::OwnEnd> own;	  // with it, if a turn was given
		std::uint64_t acknowledged_messages = 0;
		std::uint64_t acknowledged_sequence = 0; // of the stream
		core::Position acknowledged_position{};	 // of the last acknowledged message; meaningless before the first
		core::Lsn complete_up_to = 0;			 // every commit up to here is stored
		std::size_t unacknowledged_bytes = 0;
		std::uint64_t unacknowledged_messages = 0;
		std::uint64_t retries = 0; // attempts after a failure, connections included
		std::string connected_url;
		std::size_t max_payload = 0; // that server and stream take, headers included; 0 before the first connection
		std::optional<core::Error> error; // the latest trouble
		std::uint64_t errors = 0;		  // how many there have been, so that a new one can be told from an old one
		bool healthy = false;			  // connected, and nothing has failed since; after a refusal or silence
										  // only an acknowledgement makes it true again
	};

	// `event_fd`: an eventfd that the publisher writes and never reads or closes; must outlive it.
	Publisher(PublisherOptions options, int event_fd);
	~Publisher(); // stop() with no patience

	void start(); // makes the thread; throws std::system_error if there is none to be had
	void submit(std::unique_ptr<core::Batch> batch); // never blocks; throws only std::bad_alloc
	Progress progress() const;

	// Asks the thread to end, waits up to `patience`, and says whether it has. What is unacknowledged stays so.
	// When it has not (a connection attempt hangs), the thread keeps itself alive on shared state and ends later; the
	// process must then leave by _exit, since libnats' exit handlers would race with it. Nothing is written to the
	// eventfd any more, either way.
	bool stop(std::chrono::milliseconds patience) noexcept;

private:
	PublisherOptions options_;
	std::shared_ptr<Mailbox> mailbox_;
};

} // namespace pgbraid::nats
