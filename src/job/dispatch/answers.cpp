#include "job/dispatch/answers.h"

#include "nats/json.h"
#include "pg/encoding.h"
#include "pg/transaction.h"

#include <algorithm>
#include <array>

namespace pgbraid::job {

namespace {

using Messages = std::span<const nats::Connection::Heard>;

constexpr const char *lock_patience = "200ms";

// Whoever asks says where the answer goes. It must not reach the API of JetStream, with our rights.
bool may_answer(const std::string &to)
{
	return !to.empty() && to.front() != '$';
}

std::optional<pg::Caught> do_all(Messages messages, Answers &answers)
{
	return pg::attempt("answering applications", lock_patience, [&] {
		std::vector<std::string> texts;
		for (const auto &message : messages)
			texts.push_back(pg::from_utf8(message.data));
		std::vector<const char *> said;
		for (const auto &text : texts)
			said.push_back(text.c_str());
		for (auto &answered : catalog::answer_messages(said)) {
			const auto &to = messages[(size_t) answered.number - 1].reply;
			if (may_answer(to))
				answers.letters.push_back({.subject = to, .payload = pg::to_utf8(answered.reply)});
			if (answered.kind != "refused")
				answers.done.push_back(std::move(answered));
		}
	});
}

// Locks, deadlocks and what the server is short of pass.
bool is_passing(const std::string &sqlstate)
{
	return sqlstate.starts_with("40") || sqlstate.starts_with("53") || sqlstate.starts_with("55P03") ||
		   sqlstate.starts_with("57");
}

std::string refusal(const std::string &reason)
{
	std::string text = "{\"ok\":false,\"reason\":";
	nats::append_json(text, reason);
	return text + "}";
}

} // namespace

Answers answer(const std::vector<nats::Connection::Heard> &messages)
{
	Answers answers;
	if (messages.empty() || !do_all(messages, answers))
		return answers;
	answers = {};
	for (const auto &message : messages) {
		Answers one;
		auto trouble = do_all({&message, 1}, one);
		if (!trouble) {
			std::move(one.letters.begin(), one.letters.end(), std::back_inserter(answers.letters));
			std::move(one.done.begin(), one.done.end(), std::back_inserter(answers.done));
		} else if (may_answer(message.reply) && !is_passing(trouble->sqlstate)) {
			answers.letters.push_back({.subject = message.reply, .payload = refusal(trouble->message)});
		}
	}
	return answers;
}

std::string to_text(const pg_uuid_t &token)
{
	std::array<char, 40> text;
	const unsigned char *b = token.data;
	snprintf(text.data(), text.size(), "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0],
			 b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
	return text.data();
}

} // namespace pgbraid::job
