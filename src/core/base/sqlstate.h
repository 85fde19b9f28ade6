// The SQLSTATEs of PostgreSQL that are used beyond PostgreSQL's own code, each in one place.
#pragma once

namespace pgbraid::core::sqlstate {

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
inline constexpr const char *data_corrupted = "XX001";

} // namespace pgbraid::core::sqlstate
