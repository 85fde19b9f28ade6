// What can go wrong with what was sent, and how it is noticed.
#include "nats/error.h"
#include "nats/json.h"
#include "nats/sender.h"

#include <charconv>

namespace pgbraid::nats {
namespace {

constexpr std::size_t longest_subject = 3800; // a line of the protocol may have 4096 bytes by default

// No empty token, no wildcard, nothing that would end the subject within the protocol's line.
bool legal(std::string_view subject)
{
	bool at_start = true;
	for (char c : subject) {
		if (static_cast<unsigned char>(c) <= ' ' || c == '*' || c == '>' || c == 0x7f || (c == '.' && at_start))
			return false;
		at_start = c == '.';
	}
	return !at_start && subject.size() <= longest_subject;
}

// "<round>-<sequence>"
std::pair<std::uint64_t, std::uint64_t> parse_token(std::string_view token)
{
	std::uint64_t round = 0, sequence = 0;
	auto end = token.data() + token.size();
	auto dash = std::from_chars(token.data(), end, round).ptr;
	if (dash != end)
		std::from_chars(dash + 1, end, sequence);
	return {round, sequence};
}

} // namespace

Sender::Trouble Sender::trouble(const Error &error) const
{
	// A permission too: a new connection has those that were given since, and reports the same refusal anew.
	std::string_view state = error.sqlstate;
	bool bad = connection_->closed() || state == sqlstate::connection_failure ||
			   state == sqlstate::insufficient_privilege || state == sqlstate::invalid_authorization;
	return {error, bad ? Remedy::reconnect : Remedy::resume};
}

Sender::Maybe Sender::check(const core::Batch::Message &message)
{
	if (message.subject == last_subject_)
		return std::nullopt;
	if (!legal(message.subject))
		return Trouble{{sqlstate::invalid_parameter,
						"NATS takes no subject \"" + std::string(message.subject) + "\"",
						{},
						"A subject is made of non-empty tokens without white space and wildcards, separated by dots."},
					   Remedy::give_up};
	last_subject_ = message.subject;
	return std::nullopt;
}

Sender::Maybe Sender::too_large(const core::Batch::Message &message)
{
	Error error{sqlstate::limit_exceeded,
				"a message of " + std::to_string(message.payload.size()) + " bytes for subject \"" +
					std::string(message.subject) + "\" is larger than the NATS server takes",
				"The server's max_payload, headers included, is " + std::to_string(connection_->max_payload()) +
					" bytes.",
				"Raise max_payload in the NATS server's configuration."};
	return give_up(std::move(error));
}

// The last thing that is done: count what was stored before. Whoever owns the publisher makes another one, which asks
// anew what the server takes.
Sender::Maybe Sender::give_up(Error error)
{
	auto tail = read_tail(*connection_, options_.stream.name);
	if (tail.ok()) {
		auto resumed = outbox_.resume(*tail);
		if (!resumed.ok())
			error = resumed.error();
	}
	return Trouble{error, Remedy::give_up};
}

// Takes in what the server has said since the last time.
Sender::Maybe Sender::collect()
{
	while (auto answer = connection_->next_answer()) {
		if (answer->token.empty())
			return Trouble{{sqlstate::not_in_prerequisite_state,
							"no stream listens on the subjects of stream \"" + options_.stream.name + "\" any more"}};
		auto [round, sequence] = parse_token(answer->token);
		if (round != round_)
			continue;
		if (auto trouble = accept(answer->data, sequence))
			return trouble;
	}
	if (auto complaint = connection_->complaint())
		return trouble(*complaint);
	if (connection_->closed()) {
		auto reason = connection_->close_reason();
		return trouble(
			{sqlstate::connection_failure, "the connection to NATS was lost" + (reason.empty() ? "" : ": " + reason)});
	}
	if (Clock::now() < silent_at())
		return std::nullopt;
	return Trouble{
		{.sqlstate = sqlstate::connection_failure,
		 .message = "NATS did not acknowledge messages for " + std::to_string(options_.ack_timeout.count()) + " ms",
		 .hint = look_at_server}};
}

Sender::Maybe Sender::accept(std::string_view answer, std::uint64_t sequence)
{
	auto what = [this] { return "could not publish to stream \"" + options_.stream.name + "\""; };
	if (auto error = server_error(answer); error.code != 0) {
		Error refused = jetstream_error(error, what());
		if (error.code == jetstream::batch_too_large && most_in_batch_ > 1)
			most_in_batch_ /= 2;
		else if (refused.sqlstate == std::string_view(sqlstate::limit_exceeded)) // the stream's max_msg_size
			return give_up(std::move(refused));
		return Trouble{std::move(refused)};
	}
	auto stored = json_number(json_member(answer, "seq"));
	if (auto stream = json_string(json_member(answer, "stream")); stream != options_.stream.name)
		return Trouble{
			{sqlstate::not_in_prerequisite_state, what() + ": its messages went to stream \"" + stream + "\""}};
	if (stored != sequence)
		return Trouble{
			{sqlstate::not_in_prerequisite_state, what() + ": a message was stored elsewhere",
			 "It was to become sequence " + std::to_string(sequence) + " and is " + std::to_string(stored) + "."}};
	outbox_.acknowledged(sequence);
	while (!asked_.empty() && asked_.front().sequence <= sequence)
		asked_.pop_front();
	is_held_back_ = false;
	last_life_ = Clock::now();
	stride_ = std::min(stride_ * 2, options_.ack_messages);
	failures_ = 0;
	refused_ = false;
	changed_ = changed_ || !progress_.healthy;
	progress_.healthy = true;
	return std::nullopt;
}

} // namespace pgbraid::nats
