// The server's own time zones, for schedules; and its moments, which count from the year 2000.
#pragma once
#include "pg/boundary.h"

#include "core/job/schedule.h"

extern "C" {
#include "datatype/timestamp.h"
#include "pgtime.h"
}

#include <string>

namespace pgbraid::job {

class ServerZone final : public core::job::Zone {
public:
	explicit ServerZone(pg_tz *zone) noexcept : zone_(zone) {}
	std::chrono::seconds offset_at(std::chrono::sys_seconds time) const override;
	std::optional<Transition> next_transition(std::chrono::sys_seconds after) const override;

private:
	pg_tz *zone_; // PostgreSQL keeps it for the life of the process
};

// By its name; "" is the setting TimeZone. pg::Failure 22023 if there is none. Lives as long as the process.
const ServerZone &zone_of(const std::string &name);

core::job::Instant to_instant(TimestampTz time);
TimestampTz to_timestamp(core::job::Instant instant);

} // namespace pgbraid::job
