#include "core/job/schedule.h"

#include "core/job/occurrences.h"

#include <algorithm>
#include <utility>

namespace pgbraid::core::job {
namespace {

using std::chrono::seconds;
using std::chrono::sys_days;
using std::chrono::sys_seconds;

// A day within the years 1 and 9999, so that their local times are within them, too.
constexpr Instant earliest = sys_days{std::chrono::year{1} / 1 / 1};
constexpr Instant latest = sys_days{std::chrono::year{10000} / 1 / 1} - seconds{1};
constexpr std::chrono::days horizon{146097}; // 400 years of the Gregorian calendar

Instant limited(Instant time)
{
	return std::clamp(time, earliest - std::chrono::days{2}, latest + std::chrono::days{2});
}

bool is_regular(Instant time)
{
	return earliest <= time && time <= latest;
}

Occurrences::Gap gap_rule(const Cron &cron, GapPolicy policy)
{
	switch (policy) {
		case GapPolicy::after: return Occurrences::Gap::after;
		case GapPolicy::skip: return Occurrences::Gap::skip;
		case GapPolicy::shift: return Occurrences::Gap::shift;
		case GapPolicy::automatic: break;
	}
	return is_fixed(cron[Field::hour]) ? Occurrences::Gap::after : Occurrences::Gap::skip;
}

Occurrences::Overlap overlap_rule(const Cron &cron, OverlapPolicy policy)
{
	switch (policy) {
		case OverlapPolicy::first: return Occurrences::Overlap::first;
		case OverlapPolicy::both: return Occurrences::Overlap::both;
		case OverlapPolicy::automatic: break;
	}
	const bool fixed = is_fixed(cron[Field::second]) && is_fixed(cron[Field::minute]) && is_fixed(cron[Field::hour]);
	return fixed ? Occurrences::Overlap::first : Occurrences::Overlap::both;
}

Occurrences occurrences(const Calendar &calendar, const Zone &zone, const Cron &cron, const Policy &policy)
{
	return {calendar, zone, {gap_rule(cron, policy.gap), overlap_rule(cron, policy.overlap)}};
}

// When the clocks show it: the first time if they do twice. If they never do: as a run (also one that would be skipped,
// since there is no other).
Instant moment_of(const At &at, const Zone &zone, GapPolicy policy)
{
	const Instant clock{at.time.time_since_epoch()};
	if (at.utc)
		return clock;
	Period period = period_at(zone, std::chrono::floor<seconds>(clock) - std::chrono::hours{24});
	while (clock >= period.end + period.offset)
		period = period_after(zone, period);
	if (clock >= period.begin + period.offset)
		return clock - period.offset;
	return policy == GapPolicy::shift ? clock - period.before : Instant{period.begin};
}

std::chrono::microseconds remainder(Instant time, Instant anchor, seconds interval)
{
	const std::chrono::microseconds past = (time - anchor) % interval;
	return past.count() < 0 ? past + interval : past;
}

std::optional<Instant> if_regular(Instant time)
{
	return is_regular(time) ? std::optional{time} : std::nullopt;
}

std::optional<Instant> instant_of(std::optional<sys_seconds> time)
{
	return time ? std::optional<Instant>{*time} : std::nullopt;
}

} // namespace

Schedule::Schedule(Expression expression, Policy policy) : expression_{std::move(expression)}, policy_{policy}
{
	policy_.anchor = limited(policy_.anchor);
	if (const auto *cron = std::get_if<Cron>(&expression_))
		calendar_.emplace(*cron, policy_.days);
}

std::optional<Instant> Schedule::next(Instant after, const Zone &zone) const
{
	after = limited(after);
	if (const auto *cron = std::get_if<Cron>(&expression_)) {
		const sys_seconds from = std::chrono::floor<seconds>(after) + seconds{1};
		return instant_of(occurrences(*calendar_, zone, *cron, policy_).first_in(from, from + horizon));
	}
	if (const auto *every = std::get_if<Every>(&expression_))
		return if_regular(after - remainder(after, policy_.anchor, every->interval) + every->interval);
	const Instant once = moment_of(std::get<At>(expression_), zone, policy_.gap);
	return once > after ? std::optional{once} : std::nullopt;
}

std::optional<Instant> Schedule::previous(Instant before, const Zone &zone) const
{
	before = limited(before);
	if (const auto *cron = std::get_if<Cron>(&expression_)) {
		const sys_seconds until = std::chrono::ceil<seconds>(before);
		return instant_of(occurrences(*calendar_, zone, *cron, policy_).last_in(until - horizon, until));
	}
	if (const auto *every = std::get_if<Every>(&expression_)) {
		const auto past = remainder(before, policy_.anchor, every->interval);
		return if_regular(before - (past.count() == 0 ? every->interval : past));
	}
	const Instant once = moment_of(std::get<At>(expression_), zone, policy_.gap);
	return once < before ? std::optional{once} : std::nullopt;
}

} // namespace pgbraid::core::job
