// Moments as text, for tests of schedules: "2026-12-01T10:00:00Z".
#pragma once
#include "core/job/expression_parser.h"
#include "core/job/schedule.h"

#include <optional>
#include <string>

namespace pgbraid::core::job {

inline Instant instant(const std::string &text)
{
	return Instant{std::get<At>(parse_expression("@at " + text).value()).time.time_since_epoch()};
}

inline std::string text_of(std::optional<Instant> time)
{
	return time ? to_string(At{std::chrono::local_time<std::chrono::microseconds>{time->time_since_epoch()}, true})
				: "never";
}

} // namespace pgbraid::core::job
