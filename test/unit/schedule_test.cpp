#include "core/job/description.h"
#include "core/job/expression_parser.h"
#include "core/job/schedule.h"
#include "moment.h"
#include "zone_file.h"

#include <ctime>
#include <gtest/gtest.h>
#include <random>

namespace pgbraid::core::job {
namespace {

std::string printed(const char *text)
{
	auto expression = parse_expression(text);
	return expression ? to_string(*expression) : expression.error().detail;
}

std::string described(const char *text, DayRule rule = DayRule::either)
{
	auto expression = parse_expression(text);
	return expression ? describe(*expression, rule) : expression.error().detail;
}

// The next three, in UTC.
std::vector<std::string> next_three(const char *expression, const char *zone_name, const char *from, Policy policy = {})
{
	const ZoneFile zone{zone_name};
	const Schedule schedule{parse_expression(expression).value(), policy};
	std::vector<std::string> found;
	std::optional<Instant> now = instant(from);
	for (int i = 0; i < 3 && now; i++) {
		now = schedule.next(*now, zone);
		found.push_back(text_of(now));
	}
	return found;
}

using Texts = std::vector<std::string>;

TEST(CronExpression, IsPrintedInItsShortestSpelling)
{
	EXPECT_EQ(printed(" 0\t3 * *   MON-fri "), "0 3 * * 1-5");
	EXPECT_EQ(printed("*/1 5-5 01,2-3/1 jan/2 7"), "* 5 1,2-3 1/2 0");
	EXPECT_EQ(printed("? 22-2 L-3,LW,15W,29-L ? 5#2,fril,L3,1-5#-1,5-7,7-2"),
			  "* 22-2 L-3,LW,15W,29-31 * 5#2,5L,3L,1-5#-1,5-7,0-2");
	EXPECT_EQ(printed("*/10 * * * * *"), "*/10 * * * * *");
	EXPECT_EQ(printed("0 0 0 * * *"), "0 0 0 * * *"); // the field for seconds stays
	EXPECT_EQ(printed("@Daily"), "0 0 * * *");
	EXPECT_EQ(printed("@every_second"), "* * * * * *");
}

TEST(CronExpression, IntervalsAndMomentsArePrintedAlike)
{
	EXPECT_EQ(printed("@every 90s"), "@every 1m30s");
	EXPECT_EQ(printed("90 seconds"), "@every 1m30s");
	EXPECT_EQ(printed(" 1 Minute "), "@every 1m");
	EXPECT_EQ(printed("1 hour 30 minutes"), "@every 1h30m");
	EXPECT_EQ(printed("@every 36h"), "@every 36h");
	EXPECT_EQ(printed("@at 2026-12-01 10:00:00+01"), "@at 2026-12-01T09:00:00Z");
	EXPECT_EQ(printed("@at 2026-12-01 10:00:00.25-03:30"), "@at 2026-12-01T13:30:00.250000Z");
	EXPECT_EQ(printed("@at 2026-12-01T10:00"), "@at 2026-12-01T10:00:00");
}

TEST(CronExpression, ErrorsPointAtTheField)
{
	EXPECT_EQ(printed("0 25 * * *"), "Hour \"25\" at column 3 is out of range: it needs a number from 0 to 23.");
	EXPECT_EQ(printed("0 1,2,x * * *"), "Hour \"x\" at column 7 needs a number from 0 to 23.");
	EXPECT_EQ(printed("0 0 * janu *"), "Month \"janu\" at column 7 is not understood from \"u\" on.");
	EXPECT_EQ(printed("0 0 0 * *"), "Day of month \"0\" at column 5 is out of range: it needs a number from 1 to 31.");
	EXPECT_EQ(printed("*/90 * * * *"), "Minute \"*/90\" at column 1 needs a number from 1 to 59 after \"/\".");
	EXPECT_EQ(printed("* * * * * 5#6"),
			  "Weekday \"5#6\" at column 11 needs a number from 1 to 5, or from -5 to -1, after \"#\".");
	EXPECT_EQ(printed("0 0 * * ü,1x"), "Weekday \"ü\" at column 9 needs a number from 0 to 7 or a name, SUN to SAT.");
	EXPECT_EQ(printed("0 0 * ü 8"), "Month \"ü\" at column 7 needs a number from 1 to 12 or a name, JAN to DEC.");
	EXPECT_EQ(printed("0,ü * * *"), "It has 4 fields; a cron expression has 5, or 6 with seconds.");
	EXPECT_EQ(printed("0 0 1,, * *"), "Day of month \"\" at column 7 is empty.");
	EXPECT_EQ(printed("@reboot"), "Macro \"@reboot\" at column 1 is not known.");
	EXPECT_EQ(printed("@daily x"), "Macro \"@daily\" at column 1 is not one that more can follow.");
	EXPECT_EQ(printed("@every 5 parsecs"), "Interval \"5 parsecs\" at column 8 is not a duration.");
	EXPECT_EQ(printed("@every 0s"), "Interval \"0s\" at column 8 is not between one second and ten years.");
	EXPECT_EQ(printed("@every 99999999999999h"),
			  "Interval \"99999999999999h\" at column 8 is not between one second and ten years.");
	EXPECT_EQ(printed("@at 2026-02-29 10:00"), "Time \"2026-02-29 10:00\" at column 5 is not a date and time.");
	EXPECT_EQ(printed("@at 0001-01-01 00:00+01"),
			  "Time \"0001-01-01 00:00+01\" at column 5 is not in the years 1 to 9999.");
	EXPECT_EQ(printed(""), "It is empty.");
}

TEST(CronExpression, ErrorsQuoteTheScheduleAndHelp)
{
	auto bad = parse_expression("*/90 * * * *");
	ASSERT_FALSE(bad);
	EXPECT_STREQ(bad.error().sqlstate, "22023");
	EXPECT_EQ(bad.error().message, "invalid schedule \"*/90 * * * *\"");
	EXPECT_EQ(bad.error().hint,
			  "Write \"@every\" and a duration, \"@every 90m\", for what does not fit into the field.");
	EXPECT_FALSE(parse_expression(std::string(longest_expression + 1, '*')));
	EXPECT_FALSE(parse_expression("* * * * *" + std::string(1, '\0')));
}

TEST(CronDescription, IsEnglish)
{
	EXPECT_EQ(described("30 2 * * *"), "at 02:30 every day");
	EXPECT_EQ(described("0 9,17 * * MON-FRI"), "at 09:00 and 17:00 on Monday to Friday");
	EXPECT_EQ(described("*/15 * * * *"), "every 15 minutes");
	EXPECT_EQ(described("* * * * *"), "every minute");
	EXPECT_EQ(described("5 * * * *"), "at minute 5 of every hour");
	EXPECT_EQ(described("0 */2 * * *"), "at minute 0 of every 2nd hour");
	EXPECT_EQ(described("*/15 9-17 * * 1-5"), "every 15 minutes of hours 9 to 17 on Monday to Friday");
	EXPECT_EQ(described("10 0 12 1 1 *"), "at 12:00:10 on day 1 of the month in January");
	EXPECT_EQ(described("*/10 * * * * *"), "every 10 seconds");
	EXPECT_EQ(described("30 * 2 * * *"), "at second 30 of every minute of hour 2");
	EXPECT_EQ(described("0 0 L,15W * *"),
			  "at 00:00 on the last day and the day from Monday to Friday nearest to day 15 of the month");
	EXPECT_EQ(described("0 0 L-1 * *"), "at 00:00 on 1 day before the last day of the month");
	EXPECT_EQ(described("0 0 * * 5L,1#2"), "at 00:00 on the last Friday of the month and the 2nd Monday of the month");
	EXPECT_EQ(described("0 0 13 * 5"), "at 00:00 on day 13 of the month or on Friday");
	EXPECT_EQ(described("0 0 13 * 5", DayRule::both), "at 00:00 on day 13 of the month when it is Friday");
	EXPECT_EQ(described("0 0 * 1,6-8 */3"), "at 00:00 on Sunday, Wednesday and Saturday in January and June to August");
	EXPECT_EQ(described("5/10,3 * * * *"), "at minute 3 and every 10th minute from 5 on of every hour");
	EXPECT_EQ(described("@every 90s"), "every 1 minute and 30 seconds");
	EXPECT_EQ(described("@at 2026-12-01 10:00Z"), "once at 2026-12-01 10:00:00 UTC");
}

TEST(CronSchedule, WhatNeverHappensIsSoonKnown)
{
	const ZoneFile zone{"America/New_York"};
	for (const char *text : {"0 0 30 2 *", "* * * * * *", "0 0 31 4,6,9,11 *", "0 0 29 2 1#1"}) {
		const Schedule schedule{parse_expression(text).value(), {.days = DayRule::both}};
		const bool never = text[2] != '*';
		for (int i = 0; i < 20; i++) {
			EXPECT_EQ(schedule.next(instant("2026-01-01T00:00Z"), zone).has_value(), !never) << text;
			EXPECT_EQ(schedule.previous(instant("2026-01-01T00:00Z"), zone).has_value(), !never) << text;
		}
	}
	EXPECT_EQ(next_three("0 0 29 2 *", "UTC", "2096-03-01T00:00Z")[0], "2104-02-29T00:00:00Z");
}

TEST(CronSchedule, KeepsToTheCalendarOfFourDigitYears)
{
	EXPECT_EQ(next_three("59 59 23 31 12 *", "UTC", "9999-01-01T00:00Z"), (Texts{"9999-12-31T23:59:59Z", "never"}));
	const ZoneFile zone{"Asia/Beirut"};
	for (const char *text : {"* * * * *", "@every 1h", "@at 2026-01-01 00:00"}) {
		const Schedule schedule{parse_expression(text).value()};
		EXPECT_FALSE(schedule.next(Instant::max(), zone)) << text;
		EXPECT_FALSE(schedule.previous(Instant::min(), zone)) << text;
	}
	EXPECT_EQ(text_of(Schedule{parse_expression("@at 2026-01-01 00:00").value()}.next(Instant::min(), zone)),
			  "2025-12-31T22:00:00Z");
}

// The clocks of Berlin: 2026-03-29 02:00 -> 03:00 and 2026-10-25 03:00 -> 02:00, both at 01:00 UTC.
TEST(CronSchedule, FixedTimesRunOnceADay)
{
	EXPECT_EQ(next_three("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00Z"),
			  (Texts{"2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z", "2026-03-31T00:30:00Z"}));
	EXPECT_EQ(next_three("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00Z"),
			  (Texts{"2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z", "2026-10-27T01:30:00Z"}));
}

TEST(CronSchedule, IntervalsRunThrough)
{
	EXPECT_EQ(next_three("30 * * * *", "Europe/Berlin", "2026-03-29T00:00Z"),
			  (Texts{"2026-03-29T00:30:00Z", "2026-03-29T01:30:00Z", "2026-03-29T02:30:00Z"}));
	EXPECT_EQ(next_three("30 * * * *", "Europe/Berlin", "2026-10-25T00:00Z"),
			  (Texts{"2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z", "2026-10-25T02:30:00Z"}));
}

TEST(CronSchedule, PoliciesDecideAboutGapsAndOverlaps)
{
	const char *spring = "2026-03-28T12:00Z", *autumn = "2026-10-24T12:00Z", *berlin = "Europe/Berlin";
	EXPECT_EQ(next_three("30 2 * * *", berlin, spring, {.gap = GapPolicy::skip})[0], "2026-03-30T00:30:00Z");
	EXPECT_EQ(next_three("30 2 * * *", berlin, spring, {.gap = GapPolicy::shift})[0], "2026-03-29T01:30:00Z");
	EXPECT_EQ(next_three("30 * * * *", berlin, "2026-03-29T00:30Z", {.gap = GapPolicy::after})[0],
			  "2026-03-29T01:00:00Z");
	EXPECT_EQ(next_three("30 2 * * *", berlin, autumn, {.overlap = OverlapPolicy::both})[1], "2026-10-25T01:30:00Z");
	EXPECT_EQ(next_three("30 * * * *", berlin, "2026-10-25T00:30Z", {.overlap = OverlapPolicy::first})[0],
			  "2026-10-25T02:30:00Z");
}

// A table may have transitions that change a zone's name, or whether it is summer there, and not its offset.
class RenamedZone final : public Zone {
public:
	std::chrono::seconds offset_at(std::chrono::sys_seconds time) const override
	{
		return std::chrono::hours{time < back_ ? 2 : 1};
	}

	std::optional<Transition> next_transition(std::chrono::sys_seconds after) const override
	{
		for (auto at : {back_ - std::chrono::hours{1}, back_, back_ + std::chrono::minutes{15}})
			if (after < at)
				return Transition{at, offset_at(at)};
		return std::nullopt;
	}

private:
	const std::chrono::sys_seconds back_ =
		std::chrono::sys_days{std::chrono::year{2026} / 10 / 25} + std::chrono::hours{1};
};

TEST(CronSchedule, AnotherNameOfTheSameOffsetChangesNothing)
{
	const RenamedZone zone;
	const Schedule schedule{parse_expression("30 2 * * *").value()};
	const Instant first = instant("2026-10-25T00:30Z"), second = instant("2026-10-26T01:30Z");
	EXPECT_EQ(text_of(schedule.next(first, zone)), text_of(second));
	EXPECT_EQ(text_of(schedule.previous(second, zone)), text_of(first));
}

TEST(CronSchedule, AnIntervalStartsAtItsAnchor)
{
	const Policy policy{.anchor = instant("2026-01-01T00:00:10.5Z")};
	EXPECT_EQ(next_three("@every 90s", "UTC", "2026-01-01T00:00:10.5Z", policy),
			  (Texts{"2026-01-01T00:01:40.500000Z", "2026-01-01T00:03:10.500000Z", "2026-01-01T00:04:40.500000Z"}));
	const ZoneFile zone{"UTC"};
	const Schedule schedule{parse_expression("@every 90s").value(), policy};
	EXPECT_EQ(text_of(schedule.previous(instant("2026-01-01T00:01:40.5Z"), zone)), "2026-01-01T00:00:10.500000Z");
	EXPECT_EQ(text_of(schedule.previous(instant("2026-01-01T00:00:00Z"), zone)), "2025-12-31T23:58:40.500000Z");
}

TEST(CronSchedule, AMomentComesOnce)
{
	EXPECT_EQ(next_three("@at 2026-12-01 10:00+01", "UTC", "2026-01-01T00:00Z"),
			  (Texts{"2026-12-01T09:00:00Z", "never"}));
	EXPECT_EQ(next_three("@at 2026-12-01 10:00", "Europe/Berlin", "2026-01-01T00:00Z")[0], "2026-12-01T09:00:00Z");
	EXPECT_EQ(next_three("@at 2026-10-25 02:30", "Europe/Berlin", "2026-01-01T00:00Z")[0], "2026-10-25T00:30:00Z");
	EXPECT_EQ(next_three("@at 2026-03-29 02:30", "Europe/Berlin", "2026-01-01T00:00Z")[0], "2026-03-29T01:00:00Z");
	EXPECT_EQ(next_three("@at 2026-03-29 02:30", "Europe/Berlin", "2026-01-01T00:00Z", {.gap = GapPolicy::shift})[0],
			  "2026-03-29T01:30:00Z");
	EXPECT_EQ(next_three("@at 2011-12-30 12:00", "Pacific/Apia", "2011-01-01T00:00Z")[0], "2011-12-30T10:00:00Z");
}

// Expressions made at random, of all that the grammar has.
class Generator {
public:
	explicit Generator(unsigned seed) : random_{seed} {}

	std::string expression()
	{
		std::string text = below(2) ? "" : field(Field::second) + ' ';
		for (Field each : {Field::minute, Field::hour, Field::day, Field::month})
			text += field(each) + ' ';
		return text + field(Field::weekday);
	}

	int below(int n) { return static_cast<int>(random_() % static_cast<unsigned>(n)); }

private:
	std::string value(Field field)
	{
		const FieldRange &range = range_of(field);
		return std::to_string(range.first + below(range.last - range.first + (field == Field::weekday ? 2 : 1)));
	}

	std::string special(Field field)
	{
		const std::string n = value(field);
		if (field == Field::day)
			return std::array<std::string, 4>{"L", "L-" + std::to_string(below(31)), n + 'W', "L-3W"}[random_() % 4];
		const std::string nth = std::to_string(1 + below(5));
		return std::array<std::string, 4>{n + 'L', n + '#' + nth, n + "#-" + nth,
										  n + '-' + value(field) + '#' + nth}[random_() % 4];
	}

	std::string element(Field field)
	{
		const std::string step = '/' + std::to_string(1 + below(range_of(field).last));
		const std::string range = value(field) + '-' + value(field);
		if ((field == Field::day || field == Field::weekday) && below(4) == 0)
			return special(field);
		return std::array<std::string, 6>{
			"*", '*' + step, value(field), range, range + step, value(field) + step}[random_() % 6];
	}

	std::string field(Field field)
	{
		std::string text = element(field);
		for (int more = below(6) - 3; more > 0; more--)
			text += ',' + element(field);
		return text;
	}

	std::mt19937 random_;
};

TEST(CronProperties, WhatIsPrintedParsesToTheSame)
{
	Generator random{1};
	for (int i = 0; i < 5000; i++) {
		const std::string text = random.expression();
		auto expression = parse_expression(text);
		ASSERT_TRUE(expression) << text << ": " << expression.error().detail;
		auto again = parse_expression(to_string(*expression));
		ASSERT_TRUE(again) << text;
		ASSERT_EQ(*again, *expression) << text;
		ASSERT_FALSE(describe(*expression).empty());
	}
}

// From wherever one asks between two neighbours, the answer is one of them.
TEST(CronProperties, NextAndPreviousMeet)
{
	Generator random{2};
	const ZoneFile zone{"Australia/Lord_Howe"};
	const Instant begin = instant("2024-01-01T00:00Z");
	for (int i = 0; i < 1500; i++) {
		const std::string text = random.expression();
		Policy policy{random.below(2) ? DayRule::both : DayRule::either,
					  static_cast<GapPolicy>(random.below(4)),
					  static_cast<OverlapPolicy>(random.below(3)),
					  {}};
		const Schedule schedule{parse_expression(text).value(), policy};
		const Instant from = begin + std::chrono::minutes{random.below(1000000)};
		const auto next = schedule.next(from, zone), previous = schedule.previous(from, zone);
		if (!next || !previous)
			continue;
		ASSERT_GT(*next, from) << text;
		ASSERT_LT(*previous, from) << text;
		const auto back = schedule.previous(*next, zone), there = schedule.next(*previous, zone);
		ASSERT_TRUE(back == previous || back == from) << text << " from " << text_of(from);
		ASSERT_TRUE(there == next || there == from) << text << " from " << text_of(from);
	}
}

// Every second of two days with a transition, against a look at each one alone.
TEST(CronProperties, SecondsAreFoundLikeMinutes)
{
	const ZoneFile zone{"Europe/Berlin"};
	const Schedule schedule{parse_expression("7-59/13 */7 1-3 * * *").value()};
	const Instant begin = instant("2026-10-24T12:00Z"), end = instant("2026-10-26T12:00Z");
	std::vector<Instant> should, found;
	for (Instant now = begin; now < end; now += std::chrono::seconds{1}) {
		const auto utc = std::chrono::floor<std::chrono::seconds>(now);
		const auto clock = (utc + zone.offset_at(utc)).time_since_epoch().count() % 86400;
		const auto hour = clock / 3600, minute = clock / 60 % 60, second = clock % 60;
		if (hour >= 1 && hour <= 3 && minute % 7 == 0 && second >= 7 && (second - 7) % 13 == 0)
			should.push_back(now);
	}
	for (auto at = schedule.next(begin - std::chrono::seconds{1}, zone); *at < end; at = schedule.next(*at, zone))
		found.push_back(*at);
	EXPECT_EQ(found, should);
}

// The reader of zones that the tests lean on, against the C library's.
TEST(CronZones, AreReadAsTheSystemReadsThem)
{
	const char *before = std::getenv("TZ");
	const std::string saved = before ? before : "";
	for (const char *name :
		 {"Australia/Lord_Howe", "Africa/Casablanca", "Europe/Dublin", "Pacific/Apia", "Asia/Kathmandu"}) {
		setenv("TZ", name, 1);
		tzset();
		const ZoneFile zone{name};
		for (std::time_t time = 0; time < 4'000'000'000; time += 1'234'567) {
			std::tm parts;
			ASSERT_TRUE(localtime_r(&time, &parts));
			ASSERT_EQ(zone.offset_at(std::chrono::sys_seconds{std::chrono::seconds{time}}).count(), parts.tm_gmtoff)
				<< name << ' ' << time;
		}
	}
	before ? setenv("TZ", saved.c_str(), 1) : unsetenv("TZ");
	tzset();
}

} // namespace
} // namespace pgbraid::core::job
