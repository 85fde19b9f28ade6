// Schedule against a walk through every minute of 20 years, in zones whose clocks are unusual. The walk knows nothing
// of cron expressions: each is written down a second time, as predicates.
#include "core/job/expression_parser.h"
#include "core/job/schedule.h"
#include "zone_file.h"

#include <algorithm>
#include <array>
#include <functional>
#include <gtest/gtest.h>
#include <vector>

namespace pgbraid::core::job {
namespace {

using std::chrono::local_days;
using std::chrono::minutes;
using std::chrono::seconds;
using std::chrono::sys_seconds;
using Minute = std::int64_t; // since 1970, by UTC or by a clock
constexpr Minute day_minutes = 1440;

struct Date {
	int year, month, day, weekday, length; // length of the month

	explicit Date(Minute day_number)
	{
		const local_days date{std::chrono::days{day_number}};
		const std::chrono::year_month_day parts{date};
		year = static_cast<int>(parts.year());
		month = static_cast<int>(static_cast<unsigned>(parts.month()));
		day = static_cast<int>(static_cast<unsigned>(parts.day()));
		weekday = static_cast<int>(std::chrono::weekday{date}.c_encoding());
		const bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
		constexpr int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
		length = lengths[month - 1] + (month == 2 && leap);
	}
};

struct Pattern {
	const char *expression;
	std::function<bool(int)> minute, hour;
	std::function<bool(const Date &)> date;
	bool hours_fixed, all_fixed;
};

bool any_date(const Date &)
{
	return true;
}

const std::vector<Pattern> &patterns()
{
	static const std::vector<Pattern> all{
		{"30 2 * * *", [](int m) { return m == 30; }, [](int h) { return h == 2; }, any_date, true, true},
		{"0 0 * * *", [](int m) { return m == 0; }, [](int h) { return h == 0; }, any_date, true, true},
		{"15,45 0,1,3 * * *", [](int m) { return m == 15 || m == 45; },
		 [](int h) { return h == 0 || h == 1 || h == 3; }, any_date, true, true},
		{"7 * * * *", [](int m) { return m == 7; }, [](int) { return true; }, any_date, false, false},
		{"*/20 1-3 * * *", [](int m) { return m % 20 == 0; }, [](int h) { return h >= 1 && h <= 3; }, any_date, false,
		 false},
		{"*/30 2 * * 0", [](int m) { return m % 30 == 0; }, [](int h) { return h == 2; },
		 [](const Date &d) { return d.weekday == 0; }, true, false},
		{"59 23 13 * 5", [](int m) { return m == 59; }, [](int h) { return h == 23; },
		 [](const Date &d) { return d.day == 13 || d.weekday == 5; }, true, true},
		{"0 1 L * *", [](int m) { return m == 0; }, [](int h) { return h == 1; },
		 [](const Date &d) { return d.day == d.length; }, true, true},
		{"45 22-1 29 2,12 *", [](int m) { return m == 45; }, [](int h) { return h >= 22 || h <= 1; },
		 [](const Date &d) { return d.day == 29 && (d.month == 2 || d.month == 12); }, false, false},
		{"10 3 * 3,10 0L", [](int m) { return m == 10; }, [](int h) { return h == 3; },
		 [](const Date &d) { return d.weekday == 0 && d.day + 7 > d.length && (d.month == 3 || d.month == 10); }, true,
		 true},
	};
	return all;
}

struct PolicyNames {
	GapPolicy gap;
	OverlapPolicy overlap;
};
constexpr PolicyNames policies[] = {
	{GapPolicy::automatic, OverlapPolicy::automatic},
	{GapPolicy::after, OverlapPolicy::first},
	{GapPolicy::skip, OverlapPolicy::both},
	{GapPolicy::shift, OverlapPolicy::first},
};

Minute minute_of(sys_seconds time)
{
	return std::chrono::floor<minutes>(time).time_since_epoch().count();
}

// A minute in which the clocks show, show once more, or skipped what a pattern says.
struct Sighting {
	enum class Kind { first, again, skipped } kind;
	Minute at;
	Minute late; // skipped: so far into the gap that ends at `at`
};
using Sightings = std::vector<std::vector<Sighting>>; // of each pattern

// Looks at every minute; all patterns at once, with tables of what matches a minute of the day and a day.
class Walk {
public:
	explicit Walk(const ZoneFile &zone) : zone_{zone}, found_(patterns().size())
	{
		for (std::size_t minute = 0; minute < by_minute_.size(); minute++)
			for (std::size_t i = 0; i < patterns().size(); i++) {
				const int of_day = static_cast<int>(minute);
				if (patterns()[i].minute(of_day % 60) && patterns()[i].hour(of_day / 60))
					by_minute_[minute] |= 1u << i;
			}
	}

	Sightings all(Minute from, Minute until)
	{
		Minute offset = offset_at(from);
		Minute shown = from - 1 + offset, latest = shown;
		for (Minute now = from; now < until; now++) {
			if (now % 15 == 0) // the transitions of these years are on quarters of an hour
				offset = offset_at(now);
			const Minute clock = now + offset;
			for (Minute skipped = shown + 1; skipped < clock; skipped++)
				see(skipped, {Sighting::Kind::skipped, now, skipped - shown - 1});
			see(clock, {clock <= latest ? Sighting::Kind::again : Sighting::Kind::first, now, 0});
			shown = clock;
			latest = std::max(latest, clock);
		}
		return std::move(found_);
	}

private:
	Minute offset_at(Minute now) const
	{
		const auto offset = zone_.offset_at(sys_seconds{minutes{now}});
		return std::chrono::duration_cast<minutes>(offset).count();
	}

	void see(Minute clock, Sighting sighting)
	{
		const unsigned at_minute = by_minute_[static_cast<std::size_t>(clock % day_minutes)];
		if (at_minute == 0)
			return;
		const unsigned matching = at_minute & on_day(clock / day_minutes);
		for (std::size_t i = 0; matching >> i != 0; i++)
			if (matching >> i & 1)
				found_[i].push_back(sighting);
	}

	unsigned on_day(Minute day)
	{
		if (day != day_) {
			day_ = day;
			by_day_ = 0;
			for (std::size_t i = 0; i < patterns().size(); i++)
				by_day_ |= unsigned{patterns()[i].date(Date{day})} << i;
		}
		return by_day_;
	}

	const ZoneFile &zone_;
	Sightings found_;
	std::array<unsigned, day_minutes> by_minute_{}; // bit i: pattern i
	Minute day_ = -1;
	unsigned by_day_ = 0;
};

// When a pattern happens, of what was seen.
std::vector<Minute> times_of(const Pattern &pattern, const std::vector<Sighting> &seen, PolicyNames policy)
{
	GapPolicy gap = policy.gap;
	if (gap == GapPolicy::automatic)
		gap = pattern.hours_fixed ? GapPolicy::after : GapPolicy::skip;
	const bool once =
		policy.overlap == OverlapPolicy::first || (policy.overlap == OverlapPolicy::automatic && pattern.all_fixed);
	std::vector<Minute> times;
	for (const Sighting &sighting : seen) {
		if (sighting.kind == Sighting::Kind::first || (sighting.kind == Sighting::Kind::again && !once))
			times.push_back(sighting.at);
		if (sighting.kind == Sighting::Kind::skipped && gap == GapPolicy::after)
			times.push_back(sighting.at);
		if (sighting.kind == Sighting::Kind::skipped && gap == GapPolicy::shift)
			times.push_back(sighting.at + sighting.late);
	}
	std::sort(times.begin(), times.end());
	times.erase(std::unique(times.begin(), times.end()), times.end());
	return times;
}

Instant instant(Minute minute)
{
	return sys_seconds{minutes{minute}};
}

// Is that within three days of a transition?
bool is_near_transition(const ZoneFile &zone, Minute minute)
{
	const sys_seconds time{minutes{minute}};
	const auto next = zone.next_transition(time - std::chrono::days{3});
	return next && next->at < time + std::chrono::days{3};
}

class Zones : public testing::TestWithParam<const char *> {
protected:
	void SetUp() override { seen_ = Walk{zone_}.all(first(), last()); }

	Minute first() const
	{
		const bool early = GetParam() == std::string{"Pacific/Kiritimati"};
		return minute_of(std::chrono::sys_days{std::chrono::year{early ? 1985 : 2005} / 1 / 1});
	}
	Minute last() const { return first() + (20 * 365 + 5) * day_minutes; }

	// Each time leads to the next and, back, to the one before. Most of many that no transition is near are left out.
	void check(std::size_t pattern, PolicyNames policy)
	{
		const char *expression = patterns()[pattern].expression;
		const Schedule schedule{parse_expression(expression).value(), {.gap = policy.gap, .overlap = policy.overlap}};
		const std::vector<Minute> times = times_of(patterns()[pattern], seen_[pattern], policy);
		const bool many = times.size() > (policy.gap == GapPolicy::automatic ? 10000 : 1000);
		Minute before = first() - 1, count = 0;
		for (Minute time : times) {
			if (!many || count++ % 100 == 0 || is_near_transition(zone_, time)) {
				ASSERT_EQ(schedule.next(instant(before), zone_), instant(time)) << expression << ", minute " << time;
				const auto back = schedule.previous(instant(time), zone_);
				ASSERT_TRUE(back == instant(before) || before < first()) << expression << ", minute " << time;
			}
			before = time;
		}
		const auto beyond = schedule.next(instant(before), zone_);
		ASSERT_TRUE(!beyond || *beyond >= instant(last())) << expression;
	}

	ZoneFile zone_{GetParam()};
	Sightings seen_;
};

TEST_P(Zones, WalkOf20YearsAgrees)
{
	for (std::size_t i = 0; i < patterns().size(); i++)
		for (const PolicyNames &policy : policies)
			check(i, policy);
}

INSTANTIATE_TEST_SUITE_P(CronWalk, Zones,
						 testing::Values("Australia/Lord_Howe", "Pacific/Chatham", "Africa/Cairo", "Asia/Beirut",
										 "America/Santiago", "Pacific/Apia", "Africa/Casablanca", "Antarctica/Troll",
										 "Europe/Dublin", "America/Sao_Paulo", "Pacific/Kiritimati", "Asia/Amman",
										 "America/New_York"),
						 [](const auto &zone) {
							 std::string name = zone.param;
							 std::replace(name.begin(), name.end(), '/', '_');
							 return name;
						 });

} // namespace
} // namespace pgbraid::core::job
