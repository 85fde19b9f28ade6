// The thread of a publisher.
#pragma once
#include "nats/error.h"
#include "nats/mailbox.h"

#include <deque>
#include <random>

namespace pgbraid::nats {

class Sender {
public:
	Sender(std::shared_ptr<Mailbox> mailbox, PublisherOptions options);

	void run() noexcept; // until stop() or until it is broken

private:
	using Clock = std::chrono::steady_clock;
	enum class Remedy { resume, reconnect, give_up };
	struct Trouble {
		Error error;
		Remedy remedy = Remedy::resume;
	};
	using Maybe = std::optional<Trouble>;
	struct Asked {
		std::uint64_t sequence;
		Clock::time_point at;
	};

	void live_or_give_up();
	void live();
	void suffer(Trouble trouble);
	void pause();
	Maybe connect();
	Maybe round();
	Maybe resume();
	Maybe find_own(const core::StreamTail &tail);
	void begin_round(const core::StreamTail &tail);
	Maybe send();
	Maybe widen(const core::Batch &batch);
	Maybe check(const core::Batch::Message &message);
	Maybe publish(const core::Outbox::Next &next, bool ask);
	void append_guard(const core::Outbox::Next &next);
	void append_header(std::string_view name, std::string_view value);
	void count_sent();
	std::uint64_t unsent() const;
	bool must_ask() const;
	bool must_ask_now() const;
	bool begin_run();
	void append_batch();
	Maybe collect();
	Maybe accept(std::string_view answer, std::uint64_t sequence);
	Maybe too_large(const core::Batch::Message &message);
	Maybe give_up(Error error);
	void take();
	void show();
	void wait();
	bool can_send() const;
	Clock::time_point silent_at() const;
	Trouble trouble(const Error &error) const;

	std::shared_ptr<Mailbox> mailbox_;
	PublisherOptions options_;
	core::Outbox outbox_;
	std::shared_ptr<Connection> connection_;
	Publisher::Progress progress_;
	bool changed_ = false;	// progress_ has something to show
	bool refused_ = false;	// the stream did not take what it was sent, and has taken nothing since
	unsigned failures_ = 0; // in a row
	std::minstd_rand random_;

	// A round is what happens between one reading of the stream's end and the next.
	std::uint64_t round_ = 0;
	std::deque<Asked> asked_; // acknowledgements that are to come
	std::size_t since_asked_messages_ = 0, since_asked_bytes_ = 0;
	std::size_t stride_; // messages per acknowledgement: few after a failure, so that the culprit gets its own
	// With atomic batches: what is being sent goes together.
	struct Run {
		std::uint64_t left = 0; // messages that follow
		std::string batch;		// Nats-Batch-Id; empty: they go one by one, being of a transaction that is too large
		std::uint64_t sequence = 0; // in the batch, of the last that was sent
	};
	Run run_;
	std::uint64_t runs_ = 0;
	std::uint64_t most_in_batch_;
	bool is_held_back_ = false;	  // until an acknowledgement comes, or more messages
	Clock::time_point last_life_; // when the server last took or answered something
	std::string reply_, last_subject_;
	core::Bytes headers_, previous_id_;
};

} // namespace pgbraid::nats
