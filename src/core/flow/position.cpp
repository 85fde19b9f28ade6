#include "core/flow/position.h"

#include <charconv>

namespace pgbraid::core {
namespace {

constexpr std::size_t lsn_digits = 16;
constexpr std::size_t most_decimals = 20; // of an uint64

char *put_decimal(char *to, std::uint64_t value)
{
	return std::to_chars(to, to + most_decimals, value).ptr;
}

char *put_hex(char *to, std::uint64_t value, int digits)
{
	for (int shift = (digits - 1) * 4; shift >= 0; shift -= 4)
		*to++ = "0123456789ABCDEF"[(value >> shift) & 15];
	return to;
}

int hex_digits(std::uint32_t value)
{
	int digits = 1;
	while ((value >>= 4) != 0)
		digits++;
	return digits;
}

// Canonical forms only, so that an id has one spelling.
std::optional<std::uint64_t> parse_decimal(std::string_view text)
{
	if (text.empty() || (text.size() > 1 && text.front() == '0'))
		return std::nullopt;
	std::uint64_t value = 0;
	const char *end = text.data() + text.size();
	auto [stop, failure] = std::from_chars(text.data(), end, value);
	if (failure != std::errc{} || stop != end)
		return std::nullopt;
	return value;
}

std::optional<std::uint64_t> parse_hex(std::string_view text)
{
	if (text.size() != lsn_digits)
		return std::nullopt;
	std::uint64_t value = 0;
	for (char c : text) {
		if (c >= '0' && c <= '9')
			value = value << 4 | static_cast<std::uint64_t>(c - '0');
		else if (c >= 'A' && c <= 'F')
			value = value << 4 | static_cast<std::uint64_t>(c - 'A' + 10);
		else
			return std::nullopt;
	}
	return value;
}

bool is_epoch(std::string_view text)
{
	for (char c : text)
		if (c <= ' ' || c > '~' || c == '.')
			return false;
	return !text.empty();
}

// Takes the front of `text` up to a dot, and the dot.
std::string_view take_field(std::string_view &text)
{
	auto dot = text.find('.');
	auto field = text.substr(0, dot);
	text.remove_prefix(dot == std::string_view::npos ? text.size() : dot + 1);
	return field;
}

} // namespace

void append_id_of_history(Bytes &to, const History &history)
{
	char *at = to.reserve(most_decimals + history.epoch.size() + 2);
	at = put_decimal(at, history.system);
	*at++ = '.';
	at += history.epoch.copy(at, history.epoch.size());
	*at++ = '.';
	to.commit(at);
}

void append_id_of_position(Bytes &to, Position position)
{
	char *at = to.reserve(2 * most_decimals + lsn_digits + 2);
	at = put_hex(at, position.lsn, lsn_digits);
	*at++ = '.';
	at = put_decimal(at, position.seq);
	if (position.part != Position::whole) {
		*at++ = '.';
		at = put_decimal(at, position.part);
	}
	to.commit(at);
}

void append_message_id(Bytes &to, const History &history, Position position)
{
	append_id_of_history(to, history);
	append_id_of_position(to, position);
}

std::optional<MessageId> parse_message_id(std::string_view text)
{
	auto system = parse_decimal(take_field(text));
	auto epoch = take_field(text);
	auto lsn = parse_hex(take_field(text));
	bool has_part = text.find('.') != std::string_view::npos;
	auto seq = parse_decimal(take_field(text));
	std::optional<std::uint64_t> part = has_part ? parse_decimal(text) : Position::whole;
	if (!system || !is_epoch(epoch) || !lsn || !seq || !part || (has_part && *part >= Position::whole))
		return std::nullopt;
	return MessageId{{*system, std::string{epoch}}, {*lsn, *seq, static_cast<std::uint32_t>(*part)}};
}

void append_hex(Bytes &to, std::uint64_t value, int digits)
{
	to.commit(put_hex(to.reserve(static_cast<std::size_t>(digits)), value, digits));
}

void append_lsn(Bytes &to, Lsn lsn)
{
	auto high = static_cast<std::uint32_t>(lsn >> 32);
	auto low = static_cast<std::uint32_t>(lsn);
	char *at = to.reserve(lsn_digits + 1);
	at = put_hex(at, high, hex_digits(high));
	*at++ = '/';
	to.commit(put_hex(at, low, hex_digits(low)));
}

} // namespace pgbraid::core
