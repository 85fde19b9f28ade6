// Bytes that are no text, within JSON.
#pragma once
#include "core/base/bytes.h"

#include <string_view>

namespace pgbraid::core {

// RFC 4648, with padding.
void append_base64(Bytes &to, std::string_view bytes);

} // namespace pgbraid::core
