#include "core/job/signature.h"

#include "core/flow/mask.h"

namespace pgbraid::core {

std::string body_signature(std::string_view secret, std::string_view body)
{
	Bytes digits;
	Hmac(secret).append(digits, body);
	return std::string(digits.view());
}

std::string timed_signature(std::string_view secret, std::int64_t unix_seconds, std::string_view body)
{
	std::string time = std::to_string(unix_seconds);
	return "t=" + time + ",v1=" + body_signature(secret, time + "." + std::string(body));
}

} // namespace pgbraid::core
