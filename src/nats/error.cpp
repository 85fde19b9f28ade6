#include "nats/error.h"

#include "nats/json.h"

namespace pgbraid::nats {
namespace {

using core::Error;

struct Meaning {
	std::uint64_t code;
	const char *sqlstate, *hint;
};

constexpr const char *make_room =
	"Raise the limits of the account or of the server's jetstream block, or remove streams or messages.";
constexpr const char *stream_full = "Raise the stream's limits, or remove messages from it.";

// Codes: server/errors.json of nats-server.
constexpr Meaning meanings[] = {
	{10002, sqlstate::out_of_room, make_room}, // resource limits exceeded for account
	{10008, sqlstate::cannot_connect_now, ""}, // JetStream temporarily unavailable
	{10009, sqlstate::cannot_connect_now, ""}, // cluster is not available
	{10023, sqlstate::out_of_room, make_room}, // insufficient resources
	{10026, sqlstate::out_of_room, make_room}, // maximum consumers
	{10027, sqlstate::out_of_room, make_room}, // maximum number of streams
	{10028, sqlstate::out_of_room, make_room}, // insufficient memory resources
	{10035, sqlstate::not_supported, "Give the account JetStream in the NATS server's configuration."},
	{10039, sqlstate::not_supported, "Give the account JetStream in the NATS server's configuration."},
	{10047, sqlstate::out_of_room, make_room}, // insufficient storage resources
	{10054, sqlstate::limit_exceeded, "Raise max_msg_size of the stream."},
	{10076, sqlstate::not_supported, "Start nats-server with -js or a jetstream {} block in its configuration."},
	{10077, sqlstate::out_of_room, stream_full}, // store failed: maximum messages, bytes, per subject
	{10109, sqlstate::not_in_prerequisite_state, "Unseal the stream, or name another."},
	{10122, sqlstate::out_of_room, make_room}, // stream size exceeds the account's maximum
	{10177, sqlstate::not_supported,
	 "nats-server 2.12.0 takes no Nats-Msg-Id in atomic batches: use a newer one, or the option {\"message_id\": "
	 "false}."},
	{10167, sqlstate::out_of_room, ""}, // too many requests
};

} // namespace

ServerError server_error(std::string_view answer)
{
	auto error = json_member(answer, "error");
	if (error.empty())
		return {};
	auto code = json_number(json_member(error, "err_code"));
	if (code == 0)
		code = json_number(json_member(error, "code"));
	return {code == 0 ? 1 : code, json_string(json_member(error, "description"))};
}

Error jetstream_error(const ServerError &error, const std::string &what)
{
	Error result{sqlstate::not_in_prerequisite_state, what + ": " + error.description};
	for (auto &meaning : meanings) {
		if (meaning.code == error.code) {
			result.sqlstate = meaning.sqlstate;
			result.hint = meaning.hint;
		}
	}
	result.detail = "JetStream reports error " + std::to_string(error.code) + ".";
	return result;
}

Error permission_error(std::string_view reason)
{
	Error error{sqlstate::insufficient_privilege, "the NATS server refuses: " + std::string(reason)};
	auto quote = reason.find('"');
	auto end = reason.rfind('"');
	if (reason.find("ermissions") == std::string_view::npos)
		error.sqlstate = sqlstate::invalid_authorization;
	else if (quote == std::string_view::npos || end <= quote)
		error.hint = "Extend this user's permissions in the NATS server's configuration.";
	else
		error.hint = "Allow this user to " +
					 std::string(reason.find("ublish") != std::string_view::npos ? "publish to " : "subscribe to ") +
					 std::string(reason.substr(quote, end - quote + 1)) + " in the NATS server's configuration.";
	return error;
}

} // namespace pgbraid::nats
