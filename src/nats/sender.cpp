#include "nats/sender.h"

#include "core/base/backoff.h"
#include "nats/attempt.h"

#include <algorithm>
#include <charconv>
#include <poll.h>

namespace pgbraid::nats {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t most_asked = 16;		  // acknowledgements under way: bounds what waits within the server
constexpr std::size_t write_size = 64 << 10;  // for one system call
constexpr std::uint64_t most_in_batch = 1000; // of a server that is not configured otherwise

} // namespace

Sender::Sender(std::shared_ptr<Mailbox> mailbox, PublisherOptions options)
	: mailbox_(std::move(mailbox)), options_(std::move(options)), outbox_(options_.history),
	  random_(std::random_device{}()), stride_(options_.ack_messages), most_in_batch_(most_in_batch)
{
}

void Sender::run() noexcept
{
	try {
		live_or_give_up();
	} catch (...) { // an exception that left this thread would end the process, and with it the whole cluster
		mailbox_->break_off();
	}
	mailbox_->use(nullptr);
	connection_.reset();
}

void Sender::live_or_give_up()
{
	try {
		live();
	} catch (const std::bad_alloc &) {
		suffer({{sqlstate::out_of_memory, "out of memory while publishing to NATS"}, Remedy::give_up});
	} catch (const std::exception &exception) {
		suffer({{"XX000", std::string("publishing to NATS failed: ") + exception.what()}, Remedy::give_up});
	}
}

void Sender::live()
{
	while (!mailbox_->stopping()) {
		auto trouble = connection_ ? round() : connect();
		if (!trouble || mailbox_->stopping())
			continue;
		suffer(*trouble);
		if (trouble->remedy == Remedy::give_up)
			return;
		pause();
		progress_.retries++;
	}
}

void Sender::suffer(Trouble trouble)
{
	failures_++;
	stride_ = 1;
	progress_.error = std::move(trouble.error);
	progress_.errors++;
	progress_.healthy = false;
	if (trouble.remedy == Remedy::give_up)
		progress_.state = Publisher::State::broken;
	if (connection_ && (trouble.remedy != Remedy::resume || connection_->closed())) {
		mailbox_->use(nullptr);
		connection_.reset();
		progress_.connected_url.clear();
		if (trouble.remedy != Remedy::give_up)
			progress_.state = Publisher::State::connecting;
	}
	changed_ = true;
	show();
}

void Sender::pause()
{
	auto jitter = static_cast<std::uint32_t>(random_()) << 1;
	auto end = Clock::now() + core::backoff(failures_, options_.retry_delay, options_.retry_delay_max, jitter);
	while (!mailbox_->stopping() && Clock::now() < end && !(connection_ && connection_->closed())) {
		pollfd fd{mailbox_->wake_fd(), POLLIN, 0};
		if (connection_)
			connection_->pump(time_until(end), mailbox_->wake_fd());
		else
			poll(&fd, 1, static_cast<int>(time_until(end).count()));
		mailbox_->drain();
	}
}

Sender::Maybe Sender::connect()
{
	auto connected = connect_patiently(mailbox_, options_.connection);
	if (mailbox_->stopping())
		return std::nullopt;
	if (!connected.ok())
		return Trouble{connected.error()};
	connection_ = std::move(*connected);
	mailbox_->use(connection_);
	return std::nullopt;
}

// Finds the end of the stream, then sends what follows it. Ends with trouble or when asked to stop.
Sender::Maybe Sender::round()
{
	if (auto trouble = resume())
		return trouble;
	while (!mailbox_->stopping()) {
		take();
		auto trouble = collect();
		if (!trouble)
			trouble = send();
		show();
		if (trouble) {
			refused_ = refused_ || !connection_->closed();
			return trouble;
		}
		wait();
	}
	return std::nullopt;
}

Sender::Maybe Sender::resume()
{
	if (auto ensured = ensure_stream(*connection_, options_.stream); !ensured.ok())
		return trouble(ensured.error());
	auto tail = read_tail(*connection_, options_.stream.name);
	if (!tail.ok())
		return trouble(tail.error());
	if (auto trouble = find_own(*tail))
		return trouble;
	if (auto resumed = outbox_.resume(*tail); !resumed.ok())
		return Trouble{resumed.error(), Remedy::give_up};
	begin_round(*tail);
	return std::nullopt;
}

// Only once: from then on nobody writes but us.
Sender::Maybe Sender::find_own(const core::StreamTail &tail)
{
	if (!options_.turn || progress_.own)
		return std::nullopt;
	auto found = core::find_own_end(*options_.turn, tail, [this](std::uint64_t sequence) {
		return read_message(*connection_, options_.stream.name, sequence);
	});
	if (!found.ok())
		return trouble(found.error());
	progress_.own = *found;
	return std::nullopt;
}

void Sender::begin_round(const core::StreamTail &tail)
{
	round_++;
	asked_.clear();
	since_asked_messages_ = since_asked_bytes_ = 0;
	run_ = {};
	is_held_back_ = false;
	last_life_ = Clock::now();
	// Those of earlier rounds. The server answers in order, so none of them can come later, except for
	// acknowledgements, which tell their round.
	while (connection_->next_answer()) {
	}
	connection_->complaint();
	if (!progress_.tail)
		progress_.tail = tail;
	progress_.state = Publisher::State::ready;
	progress_.connected_url = connection_->connected_url();
	progress_.max_payload = static_cast<std::size_t>(connection_->max_payload());
	if (tail.max_message > 0)
		progress_.max_payload = std::min<std::size_t>(progress_.max_payload, tail.max_message);
	progress_.healthy = !refused_;
	if (outbox_.unacknowledged_messages() == 0)
		failures_ = 0;
	changed_ = true;
	show();
}

Sender::Maybe Sender::send()
{
	connection_->flush();
	std::size_t written = 0;
	bool ready = !connection_->closed() && !connection_->writing();
	while (ready && asked_.size() < most_asked && written < write_size) {
		if (unsent() == 1)
			take(); // must_ask() asks after the last message, so it must know whether this is the last
		if (options_.stream.atomic && run_.left == 0 && !begin_run())
			break;
		auto next = outbox_.next();
		if (!next)
			break;
		auto &message = next->message;
		if (next->first_of_batch) {
			if (auto trouble = widen(*next->batch))
				return trouble;
		}
		if (auto trouble = check(message))
			return trouble;
		written += message.subject.size() + message.id.size() + message.payload.size();
		since_asked_messages_++;
		since_asked_bytes_ += message.payload.size();
		if (auto trouble = publish(*next, must_ask()))
			return trouble;
		count_sent();
	}
	connection_->flush();
	if (written > 0) // all that was written before has been taken
		last_life_ = Clock::now();
	return std::nullopt;
}

void Sender::count_sent()
{
	outbox_.sent();
	if (run_.left > 0 && --run_.left == 0)
		run_ = {};
}

// False: not now. What a batch must follow can only be told by its sequence (see set_guard), and that is known once
// all before it is stored.
bool Sender::begin_run()
{
	auto group = outbox_.next_group({most_in_batch_, options_.atomic_bytes, options_.memory});
	bool is_batch = group.is_whole && group.messages > 1;
	is_held_back_ = group.messages == 0 || (is_batch && outbox_.sent_sequence() > outbox_.acknowledged_sequence());
	if (is_held_back_)
		return false;
	run_ = {group.messages, {}, 0};
	if (is_batch)
		run_.batch = std::to_string(random_()) + "-" + std::to_string(round_) + "-" + std::to_string(++runs_);
	return true;
}

std::uint64_t Sender::unsent() const
{
	return outbox_.unacknowledged_messages() - (outbox_.sent_sequence() - outbox_.acknowledged_sequence());
}

bool Sender::must_ask() const
{
	if (run_.left == 1)
		return true;
	return run_.batch.empty() && must_ask_now();
}

bool Sender::must_ask_now() const
{
	return unsent() == 1 || since_asked_messages_ >= std::min(stride_, options_.ack_messages) ||
		   since_asked_bytes_ >= options_.ack_bytes;
}

bool Sender::can_send() const
{
	return asked_.size() < most_asked && !is_held_back_ && outbox_.next();
}

Sender::Maybe Sender::widen(const core::Batch &batch)
{
	auto &subjects = options_.stream.subjects;
	auto before = subjects.size();
	for (auto &pattern : batch.required_subjects()) {
		if (std::find(subjects.begin(), subjects.end(), pattern) == subjects.end())
			subjects.push_back(pattern);
	}
	if (subjects.size() == before)
		return std::nullopt;
	auto ensured = ensure_stream(*connection_, options_.stream);
	last_life_ = Clock::now();
	return ensured.ok() ? std::nullopt : Maybe(trouble(ensured.error()));
}

// What the server must find before the message, lest it be stored after a hole or after somebody else's. A sequence is
// proof when the message before is known to be stored there. While that is still under way it is not: a stranger's
// message could take its place, and the sequences of all that follow would fit again. Its id has no such look-alike.
// (Ids alone would not do: a server forgets the last one when it restarts after a quiet time.)
void Sender::append_guard(const core::Outbox::Next &next)
{
	if (run_.sequence > 1) // the first of a batch stands for all
		return;
	if (options_.message_id && next.expected_sequence > outbox_.acknowledged_sequence())
		return append_header("Nats-Expected-Last-Msg-Id: ", previous_id_.view());
	char number[20];
	auto end = std::to_chars(number, std::end(number), next.expected_sequence).ptr;
	append_header("Nats-Expected-Last-Sequence: ", {number, static_cast<std::size_t>(end - number)});
}

// https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-50.md
void Sender::append_batch()
{
	if (run_.batch.empty())
		return;
	append_header("Nats-Batch-Id: ", run_.batch);
	append_header("Nats-Batch-Sequence: ", std::to_string(++run_.sequence));
	if (run_.left == 1)
		append_header("Nats-Batch-Commit: ", "1");
}

void Sender::append_header(std::string_view name, std::string_view value)
{
	headers_.append(name);
	headers_.append(value);
	headers_.append("\r\n");
}

Sender::Maybe Sender::publish(const core::Outbox::Next &next, bool ask)
{
	auto &message = next.message;
	headers_.clear();
	append_header(options_.message_id ? "Nats-Msg-Id: " : "Pgbraid-Id: ", message.id);
	append_batch();
	append_guard(next);
	headers_.append(message.headers);
	reply_.clear();
	if (ask)
		reply_ =
			connection_->reply_prefix() + std::to_string(round_) + "-" + std::to_string(next.expected_sequence + 1);
	auto published = connection_->publish({message.subject, reply_, headers_.view(), message.payload});
	if (!published.ok() && published.error().sqlstate == std::string_view(sqlstate::limit_exceeded))
		return too_large(message);
	if (!published.ok())
		return trouble(published.error());
	previous_id_.clear();
	previous_id_.append(message.id);
	if (ask) {
		asked_.push_back({next.expected_sequence + 1, Clock::now()});
		since_asked_messages_ = since_asked_bytes_ = 0;
	}
	return std::nullopt;
}

void Sender::take()
{
	if (!mailbox_->waiting())
		return;
	for (auto &batch : mailbox_->take())
		outbox_.add(std::move(batch));
	is_held_back_ = false;
	changed_ = true;
}

void Sender::show()
{
	if (!changed_ && progress_.acknowledged_messages == outbox_.acknowledged_messages())
		return;
	progress_.acknowledged_messages = outbox_.acknowledged_messages();
	progress_.acknowledged_sequence = outbox_.acknowledged_sequence();
	if (progress_.acknowledged_messages > 0 && outbox_.acknowledged_id())
		progress_.acknowledged_position = outbox_.acknowledged_id()->position;
	progress_.complete_up_to = outbox_.complete_up_to();
	progress_.unacknowledged_bytes = outbox_.unacknowledged_bytes();
	progress_.unacknowledged_messages = outbox_.unacknowledged_messages();
	changed_ = false;
	mailbox_->show(progress_);
}

void Sender::wait()
{
	bool busy = mailbox_->waiting() || (can_send() && !connection_->writing());
	connection_->pump(busy ? milliseconds(0) : time_until(silent_at()), mailbox_->wake_fd());
	mailbox_->drain();
}

Sender::Clock::time_point Sender::silent_at() const
{
	if (!asked_.empty())
		return std::max(asked_.front().at, last_life_) + options_.ack_timeout;
	if (connection_->writing() && outbox_.unacknowledged_messages() > 0) // else it is but libnats' PING
		return last_life_ + options_.ack_timeout;
	return Clock::time_point::max();
}

} // namespace pgbraid::nats
