// Bytes that are no text, within JSON.
#pragma once
#include "core/base/bytes.h"

#include <string>
#include <string_view>

namespace pgbraid::core {

// RFC 4648, with padding.
void append_base64(Bytes &to, std::string_view bytes);

// Up to the first character that is no digit, as the padding is.
std::string decode_base64(std::string_view text);

} // namespace pgbraid::core
