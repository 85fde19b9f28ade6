#include "core/flow/base64.h"

#include <cstdint>

namespace pgbraid::core {
namespace {

constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

} // namespace

void append_base64(Bytes &to, std::string_view bytes)
{
	char *at = to.reserve((bytes.size() + 2) / 3 * 4);
	for (std::size_t i = 0; i < bytes.size(); i += 3) {
		auto byte = [&](std::size_t k) -> unsigned {
			return i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0;
		};
		unsigned group = byte(0) << 16 | byte(1) << 8 | byte(2);
		*at++ = digits[group >> 18];
		*at++ = digits[group >> 12 & 63];
		*at++ = i + 1 < bytes.size() ? digits[group >> 6 & 63] : '=';
		*at++ = i + 2 < bytes.size() ? digits[group & 63] : '=';
	}
	to.commit(at);
}

std::string decode_base64(std::string_view text)
{
	std::string bytes;
	std::uint32_t buffer = 0;
	int bits = 0;
	for (char c : text) {
		auto value = digits.find(c);
		if (value == std::string_view::npos)
			break;
		buffer = buffer << 6 | static_cast<std::uint32_t>(value);
		bits += 6;
		if (bits >= 8) {
			bits -= 8;
			bytes += static_cast<char>(buffer >> bits);
		}
	}
	return bytes;
}

} // namespace pgbraid::core
