#include "job/server_zone.h"

extern "C" {
#include "utils/timestamp.h"
}

#include <unordered_map>

namespace pgbraid::job {

namespace {

using namespace std::chrono;

constexpr sys_days postgres_epoch{year{2000} / 1 / 1};

} // namespace

seconds ServerZone::offset_at(sys_seconds time) const
{
	pg_time_t at = time.time_since_epoch().count();
	const struct pg_tm *local = pg_localtime(&at, zone_);
	return local == nullptr ? seconds{0} : seconds{local->tm_gmtoff};
}

std::optional<core::job::Zone::Transition> ServerZone::next_transition(sys_seconds after) const
{
	pg_time_t at = after.time_since_epoch().count(), boundary;
	long before_offset, after_offset;
	int before_dst, after_dst;
	if (pg_next_dst_boundary(&at, &before_offset, &before_dst, &boundary, &after_offset, &after_dst, zone_) != 1)
		return std::nullopt;
	return Transition{sys_seconds{seconds{boundary}}, seconds{after_offset}};
}

const ServerZone &zone_of(const std::string &name)
{
	static auto &zones = *new std::unordered_map<pg_tz *, ServerZone>;
	pg_tz *zone = name.empty() ? session_timezone : pg::call([&] { return pg_tzset(name.c_str()); });
	if (zone == nullptr || !pg_tz_acceptable(zone))
		throw pg::Failure({.sqlstate = "22023",
						   .message = "time zone \"" + name + "\" not recognized",
						   .hint = "SELECT name FROM pg_timezone_names lists them."});
	return zones.try_emplace(zone, zone).first->second;
}

core::job::Instant to_instant(TimestampTz time)
{
	return core::job::Instant{postgres_epoch} + microseconds{time};
}

TimestampTz to_timestamp(core::job::Instant instant)
{
	return (instant - core::job::Instant{postgres_epoch}).count();
}

} // namespace pgbraid::job
