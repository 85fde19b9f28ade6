// How a receiver of webhooks knows that a request is ours and of today.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace pgbraid::core {

// HMAC-SHA-256 of the body, in hexadecimal digits.
std::string body_signature(std::string_view secret, std::string_view body);

// "t=<seconds>,v1=<HMAC-SHA-256 of "<seconds>.<body>">": one that was seen elsewhere can't be used again for ever.
std::string timed_signature(std::string_view secret, std::int64_t unix_seconds, std::string_view body);

} // namespace pgbraid::core
