#include "nats/stream.h"

#include "core/flow/base64.h"
#include "core/flow/subject.h"
#include "nats/error.h"
#include "nats/json.h"

#include <algorithm>
#include <array>

namespace pgbraid::nats {
namespace {

constexpr int attempts = 5; // others may create or widen the stream at the same time

// An answer of JetStream's API: its text, and the error in it if there is one.
struct Answer {
	std::string text;
	ServerError error;
};

Result<Answer> ask(const Connection &connection, const std::string &subject, const std::string &payload)
{
	auto reply = connection.request("$JS.API." + subject, payload);
	if (!reply.ok())
		return reply.error();
	if (reply->nobody_listens)
		return Error{sqlstate::not_supported,
					 "JetStream is not enabled on the NATS server, or not for this account",
					 {},
					 "Start nats-server with -js or a jetstream {} block in its configuration."};
	auto error = server_error(reply->data);
	return Answer{std::move(reply->data), std::move(error)};
}

bool listens(const std::vector<std::string> &patterns, const std::string &subject)
{
	return std::any_of(patterns.begin(), patterns.end(),
					   [&subject](const std::string &pattern) { return core::covers(pattern, subject); });
}

std::vector<std::string> missing_subjects(const std::vector<std::string> &present, const StreamConfig &config)
{
	std::vector<std::string> missing;
	std::copy_if(config.subjects.begin(), config.subjects.end(), std::back_inserter(missing),
				 [&present](const std::string &subject) { return !listens(present, subject); });
	return missing;
}

std::string list(const std::vector<std::string> &texts)
{
	std::string line;
	for (auto &text : texts)
		line += (line.empty() ? "\"" : ", \"") + text + "\"";
	return line;
}

// A stream must not name one of its subjects twice, nor two that cover each other.
std::vector<std::string> without_covered(std::vector<std::string> subjects)
{
	std::vector<std::string> kept;
	for (std::size_t i = 0; i < subjects.size(); i++) {
		bool covered = false;
		for (std::size_t j = 0; j < subjects.size() && !covered; j++)
			covered = i != j && core::covers(subjects[j], subjects[i]) && (j < i || subjects[i] != subjects[j]);
		if (!covered)
			kept.push_back(subjects[i]);
	}
	return kept;
}

std::string new_stream(const StreamConfig &config)
{
	std::string json = "{\"name\":";
	append_json(json, config.name);
	json += ",\"description\":";
	append_json(json, config.description);
	json += ",\"subjects\":" + json_array(without_covered(config.subjects));
	json += ",\"retention\":\"limits\",\"storage\":\"file\",\"discard\":\"old\",\"max_consumers\":-1,\"max_msgs\":-1,";
	if (config.atomic)
		json += "\"allow_atomic\":true,";
	json += "\"max_bytes\":-1,\"max_age\":0,\"max_msg_size\":-1,\"num_replicas\":" + std::to_string(config.replicas);
	return json + "}";
}

// The configuration with another value. All else stays as the server printed it, also what we know nothing of.
std::string with_member(std::string_view config, const std::string &name, const std::string &value)
{
	auto old = json_member(config, name);
	if (old.empty())
		return "{\"" + name + "\":" + value + "," + std::string(config.substr(1));
	auto at = static_cast<std::size_t>(old.data() - config.data());
	return std::string(config.substr(0, at)) + value + std::string(config.substr(at + old.size()));
}

bool takes_atomic_batches(std::string_view answer)
{
	return json_member(json_member(answer, "config"), "allow_atomic") == "true";
}

// The server says that subjects overlap, but not with which stream.
Error overlap_error(const Connection &connection, const StreamConfig &config, const std::string &what,
					const std::vector<std::string> &subjects)
{
	std::vector<std::string> others;
	for (auto &subject : subjects) {
		std::string filter = "{\"subject\":";
		append_json(filter, subject);
		auto answer = ask(connection, "STREAM.NAMES", filter + "}");
		if (!answer.ok())
			break;
		for (auto &name : json_strings(json_member(answer->text, "streams"))) {
			if (name != config.name && std::find(others.begin(), others.end(), name) == others.end())
				others.push_back(name);
		}
	}
	auto by = others.empty() ? "another stream" : (others.size() > 1 ? "streams " : "stream ") + list(others);
	return {sqlstate::not_in_prerequisite_state, what + ": its subjects overlap with those of " + by,
			"The subjects are " + list(subjects) + ".",
			"Publish to subjects of your own, or name the stream that already listens on them."};
}

Error change_error(const Connection &connection, const StreamConfig &config, const ServerError &error,
				   const std::string &what, const std::vector<std::string> &subjects)
{
	if (error.code == jetstream::subjects_overlap)
		return overlap_error(connection, config, what, subjects);
	return jetstream_error(error, what);
}

Error foreign_stream(const StreamConfig &config, const std::vector<std::string> &missing)
{
	if (missing.empty())
		return {sqlstate::not_in_prerequisite_state, "stream \"" + config.name + "\" does not take atomic batches",
				"The stream was not made by pgbraid.",
				"Let it (allow_atomic in its configuration), or leave the option \"atomic\" out."};
	return {sqlstate::not_in_prerequisite_state, "stream \"" + config.name + "\" does not listen on " + list(missing),
			"The stream was not made by pgbraid.",
			"Add the subjects to the stream (nats stream edit), or name another stream."};
}

// A server that does not know the setting leaves it out.
Error no_atomic_batches(const std::string &what)
{
	return {sqlstate::not_supported,
			what + ": the NATS server has no atomic batches",
			{},
			"They need nats-server 2.12 or newer. Or leave the option \"atomic\" out."};
}

// Makes the stream, or gives it what it lacks. `present` is the answer to STREAM.INFO.
Result<Answer> change(const Connection &connection, const StreamConfig &config, const Answer &present)
{
	if (present.error.code == jetstream::stream_not_found)
		return ask(connection, "STREAM.CREATE." + config.name, new_stream(config));
	auto settings = json_member(present.text, "config");
	auto subjects = json_strings(json_member(settings, "subjects"));
	auto missing = missing_subjects(subjects, config);
	if (!json_string(json_member(settings, "description")).starts_with("pgbraid"))
		return foreign_stream(config, missing);
	subjects.insert(subjects.end(), missing.begin(), missing.end());
	std::string changed = with_member(settings, "subjects", json_array(without_covered(subjects)));
	if (config.atomic)
		changed = with_member(changed, "allow_atomic", "true");
	return ask(connection, "STREAM.UPDATE." + config.name, changed);
}

// The value of a header in "NATS/1.0\r\nName: value\r\n...".
std::string_view header(std::string_view headers, std::string_view name)
{
	std::string line_start = "\r\n" + std::string(name) + ":";
	auto at = headers.find(line_start);
	if (at == std::string_view::npos)
		return {};
	auto value = headers.substr(at + line_start.size());
	value = value.substr(0, value.find("\r\n"));
	auto begin = value.find_first_not_of(' ');
	return begin == std::string_view::npos ? std::string_view() : value.substr(begin);
}

// What the headers of a message say, of one that STREAM.MSG.GET has answered with.
void read_headers(core::StreamTail &to, std::string_view message)
{
	auto headers = core::decode_base64(json_string(json_member(message, "hdrs")));
	for (const char *name : {"Nats-Msg-Id", "Pgbraid-Id"})
		if (!to.last)
			to.last = core::parse_message_id(header(headers, name));
	to.snapshot = header(headers, "Pgbraid-Snapshot");
	to.piece = core::parse_piece(header(headers, "Pgbraid-Part"), header(headers, "Pgbraid-Size"),
								 header(headers, "Pgbraid-Hash"));
	if (to.piece)
		to.subject = json_string(json_member(message, "subject"));
}

} // namespace

Status ensure_stream(const Connection &connection, const StreamConfig &config)
{
	auto what = "could not set up stream \"" + config.name + "\"";
	std::vector<std::string> missing = config.subjects;
	for (int i = 0; i < attempts; i++) {
		auto present = ask(connection, "STREAM.INFO." + config.name, {});
		if (!present.ok())
			return present.error();
		auto code = present->error.code;
		if (code != 0 && code != jetstream::stream_not_found)
			return jetstream_error(present->error, what);
		if (code == 0) {
			missing =
				missing_subjects(json_strings(json_member(json_member(present->text, "config"), "subjects")), config);
			if (missing.empty() && (!config.atomic || takes_atomic_batches(present->text)))
				return core::Nothing{};
		}
		auto changed = change(connection, config, *present);
		if (!changed.ok())
			return changed.error();
		if (changed->error.code != 0 && changed->error.code != jetstream::stream_name_in_use)
			return change_error(connection, config, changed->error, what, missing);
		if (changed->error.code == 0 && config.atomic && !takes_atomic_batches(changed->text))
			return no_atomic_batches(what);
	}
	return Error{sqlstate::not_in_prerequisite_state, what + ": somebody else keeps changing it",
				 "It does not listen on " + list(missing) + "."};
}

Result<core::StreamTail> read_tail(const Connection &connection, const std::string &stream)
{
	auto what = "could not read the end of stream \"" + stream + "\"";
	auto info = ask(connection, "STREAM.INFO." + stream, {});
	if (!info.ok())
		return info.error();
	if (info->error.code != 0)
		return jetstream_error(info->error, what);
	core::StreamTail tail;
	tail.sequence = json_number(json_member(json_member(info->text, "state"), "last_seq"));
	tail.max_message = json_number(json_member(json_member(info->text, "config"), "max_msg_size")); // -1: any
	if (tail.sequence == 0)
		return tail;
	auto last = ask(connection, "STREAM.MSG.GET." + stream, "{\"seq\":" + std::to_string(tail.sequence) + "}");
	if (!last.ok())
		return last.error();
	if (last->error.code == jetstream::no_message_found)
		return tail;
	if (last->error.code != 0)
		return jetstream_error(last->error, what);
	read_headers(tail, json_member(last->text, "message"));
	return tail;
}

Result<std::optional<core::StreamTail>> read_message(const Connection &connection, const std::string &stream,
													 std::uint64_t sequence)
{
	// Of any subject: without saying so, one that was taken out of the stream would not lead to the next.
	auto answer = ask(connection, "STREAM.MSG.GET." + stream,
					  "{\"seq\":" + std::to_string(sequence) + ",\"next_by_subj\":\">\"}");
	if (!answer.ok())
		return answer.error();
	if (answer->error.code == jetstream::no_message_found)
		return std::optional<core::StreamTail>();
	if (answer->error.code != 0)
		return jetstream_error(answer->error, "could not read a message of stream \"" + stream + "\"");
	auto message = json_member(answer->text, "message");
	core::StreamTail found{json_number(json_member(message, "seq")), std::nullopt};
	read_headers(found, message);
	return std::optional(found);
}

Result<std::string> jetstream_account(const Connection &connection)
{
	auto answer = ask(connection, "INFO", {});
	if (!answer.ok())
		return answer.error();
	if (answer->error.code != 0)
		return jetstream_error(answer->error, "could not read the limits of the JetStream account");
	auto limits = json_member(answer->text, "limits");
	auto usage = [&answer, limits](std::string_view used, std::string_view most) {
		auto limit = json_member(limits, most);
		auto now = json_member(answer->text, used);
		return std::string(now.empty() ? "0" : now) + " of " +
			   (limit.empty() || limit.starts_with('-') ? "unlimited" : std::string(limit));
	};
	return "storage " + usage("storage", "max_storage") + " bytes, memory " + usage("memory", "max_memory") +
		   " bytes, streams " + usage("streams", "max_streams") + ", consumers " + usage("consumers", "max_consumers");
}

} // namespace pgbraid::nats
