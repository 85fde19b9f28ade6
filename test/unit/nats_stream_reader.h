// Reads a stream back, message by message.
#pragma once
#include "nats/json.h"
#include "nats_server.h"

#include <optional>

namespace pgbraid::test {

inline nats::Connection open(const nats::ConnectionOptions &options)
{
	for (int i = 0;; i++) {
		auto connection = nats::Connection::open(options);
		if (connection.ok())
			return std::move(*connection);
		if (i == 50)
			throw std::runtime_error(connection.error().message);
		std::this_thread::sleep_for(milliseconds(100));
	}
}

// The answer of JetStream's API, which takes a moment to come up after a start.
inline std::string api(const nats::Connection &connection, const std::string &subject, const std::string &payload = {})
{
	for (int i = 0;; i++) {
		auto reply = connection.request("$JS.API." + subject, payload);
		if (reply.ok() && !reply->nobody_listens)
			return reply->data;
		if (i == 50)
			throw std::runtime_error(reply.ok() ? "no JetStream" : reply.error().message);
		std::this_thread::sleep_for(milliseconds(100));
	}
}

inline std::string base64_text(std::string_view text)
{
	std::string bytes;
	unsigned buffer = 0, bits = 0;
	for (char c : text) {
		constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
		auto value = alphabet.find(c);
		if (value == std::string_view::npos)
			break;
		buffer = buffer << 6 | static_cast<unsigned>(value);
		if ((bits += 6) >= 8)
			bytes += static_cast<char>(buffer >> (bits -= 8));
	}
	return bytes;
}

struct Stored {
	std::string subject, headers, payload;
};

inline std::uint64_t last_sequence(const nats::Connection &connection, const std::string &stream)
{
	auto info = api(connection, "STREAM.INFO." + stream);
	return nats::json_number(nats::json_member(nats::json_member(info, "state"), "last_seq"));
}

inline Stored stored(const nats::Connection &connection, const std::string &stream, std::uint64_t sequence)
{
	auto answer = api(connection, "STREAM.MSG.GET." + stream, "{\"seq\":" + std::to_string(sequence) + "}");
	auto message = nats::json_member(answer, "message");
	return {nats::json_string(nats::json_member(message, "subject")),
			base64_text(nats::json_string(nats::json_member(message, "hdrs"))),
			base64_text(nats::json_string(nats::json_member(message, "data")))};
}

} // namespace pgbraid::test
