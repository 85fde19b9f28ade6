#include "nats/wire.h"

#include <charconv>

namespace pgbraid::nats {
namespace {

constexpr std::string_view version = "NATS/1.0\r\n", line_end = "\r\n";
constexpr std::size_t most_decimals = 20;

char *put(char *to, std::string_view text)
{
	return to + text.copy(to, text.size());
}

std::size_t size_of_headers(const Outgoing &message)
{
	return version.size() + message.headers.size() + line_end.size();
}

} // namespace

std::size_t Outgoing::size() const noexcept
{
	return size_of_headers(*this) + payload.size();
}

void append_publish(core::Bytes &to, const Outgoing &message)
{
	constexpr std::size_t frame_size = 5 + 3 + 2 * most_decimals + 4 * line_end.size() + version.size();
	char *at = to.reserve(frame_size + message.subject.size() + message.reply.size() + message.headers.size() +
						  message.payload.size());
	at = put(at, "HPUB ");
	at = put(at, message.subject);
	*at++ = ' ';
	if (!message.reply.empty()) {
		at = put(at, message.reply);
		*at++ = ' ';
	}
	at = std::to_chars(at, at + most_decimals, size_of_headers(message)).ptr;
	*at++ = ' ';
	at = std::to_chars(at, at + most_decimals, message.size()).ptr;
	at = put(at, line_end);
	at = put(at, version);
	at = put(at, message.headers);
	at = put(at, line_end);
	at = put(at, message.payload);
	to.commit(put(at, line_end));
}

} // namespace pgbraid::nats
