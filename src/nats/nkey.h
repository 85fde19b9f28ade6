// NATS' ed25519 keys: base32 text of a kind, the key and a checksum.
#pragma once
#include "core/base/result.h"

#include <string>
#include <string_view>

namespace pgbraid::nats {

// The public key ("U...") that belongs to a seed ("SU..."). 22023 when it is none.
core::Result<std::string> public_key(std::string_view seed);

// The public key for the first seed in the file. 58P01 when it can't be read.
core::Result<std::string> public_key_of_file(const std::string &path);

} // namespace pgbraid::nats
