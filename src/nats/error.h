// What NATS says, as an error that tells a user of PostgreSQL what to do.
#pragma once
#include "core/base/result.h"
#include "core/base/sqlstate.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace pgbraid::nats {

namespace sqlstate = core::sqlstate;

// Codes of JetStream that code branches on.
namespace jetstream {
inline constexpr std::uint64_t no_message_found = 10037;
inline constexpr std::uint64_t stream_name_in_use = 10058;
inline constexpr std::uint64_t stream_not_found = 10059;
inline constexpr std::uint64_t subjects_overlap = 10065;
inline constexpr std::uint64_t batch_too_large = 10199;
} // namespace jetstream

// The "error" object of an answer of JetStream; code 0 when there is none.
struct ServerError {
	std::uint64_t code = 0; // err_code, or the HTTP-like code of servers that give no other
	std::string description;
};
ServerError server_error(std::string_view answer);

// "could not publish ...: description", with the SQLSTATE and the hint that belong to the code.
core::Error jetstream_error(const ServerError &error, const std::string &what);

// A permission or authorization error in the server's words.
core::Error permission_error(std::string_view reason);

// For a server that is there and does not answer.
inline constexpr char look_at_server[] =
	"See the NATS server's log: whether its disk is full, its stream has a leader, or it has too much to do.";

} // namespace pgbraid::nats
