#include "core/flow/base64.h"

namespace pgbraid::core {

void append_base64(Bytes &to, std::string_view bytes)
{
	constexpr char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
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

} // namespace pgbraid::core
