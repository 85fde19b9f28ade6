// What NATS says, as an error that tells a user of PostgreSQL what to do.
#pragma once
#include "core/base/result.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace pgbraid::nats {

// SQLSTATEs that code branches on, so that they are the same literal everywhere.
namespace sqlstate {
inline constexpr const char *connection_away = "08001";
inline constexpr const char *connection_failure = "08006";
inline constexpr const char *protocol_violation = "08P01";
inline constexpr const char *not_supported = "0A000";
inline constexpr const char *invalid_parameter = "22023";
inline constexpr const char *invalid_authorization = "28000";
inline constexpr const char *invalid_password = "28P01";
inline constexpr const char *insufficient_privilege = "42501";
inline constexpr const char *out_of_room = "53100";
inline constexpr const char *out_of_memory = "53200";
inline constexpr const char *too_many_connections = "53300";
inline constexpr const char *limit_exceeded = "54000";
inline constexpr const char *not_in_prerequisite_state = "55000";
inline constexpr const char *canceled = "57014";
inline constexpr const char *cannot_connect_now = "57P03";
inline constexpr const char *undefined_file = "58P01";
}	// namespace sqlstate

// Codes of JetStream that code branches on.
namespace jetstream {
inline constexpr std::uint64_t no_message_found = 10037;
inline constexpr std::uint64_t stream_name_in_use = 10058;
inline constexpr std::uint64_t stream_not_found = 10059;
inline constexpr std::uint64_t subjects_overlap = 10065;
inline constexpr std::uint64_t wrong_last_sequence = 10071;
}	// namespace jetstream

// The "error" object of an answer of JetStream; code 0 when there is none.
struct ServerError {
	std::uint64_t code = 0;	// err_code, or the HTTP-like code of servers that give no other
	std::string description;
};
ServerError server_error(std::string_view answer);

// "could not publish ...: description", with the SQLSTATE and the hint that belong to the code.
core::Error jetstream_error(const ServerError &error, const std::string &what);

// A permission or authorization error in the server's words.
core::Error permission_error(std::string_view reason);

}	// namespace pgbraid::nats
