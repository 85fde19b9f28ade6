#include "core/job/expression_parser.h"
#include "core/job/timetable.h"
#include "moment.h"
#include "zone_file.h"

#include <gtest/gtest.h>
#include <map>

namespace pgbraid::core::job {
namespace {

using namespace std::chrono_literals;
using Texts = std::vector<std::string>;

const ZoneFile &zone(const char *name)
{
	static std::map<std::string, ZoneFile> zones;
	return zones.try_emplace(name, name).first->second;
}

Timing timing(const char *expression, const char *zone_name = "UTC")
{
	return {Schedule{parse_expression(expression).value()}, &zone(zone_name)};
}

Timing timing(const char *expression, Misfire misfire)
{
	Timing made = timing(expression);
	made.misfire = misfire;
	return made;
}

// "run 1 06-01 10:00:00", "missed 1 06-01 10:00:00 to 06-01 12:00:00"
std::string printed(const Occurrence &row)
{
	const auto short_text = [](Instant time) { return text_of(time).substr(5, 5) + " " + text_of(time).substr(11, 8); };
	const std::string text = row.fate == Occurrence::Fate::run ? "run " : "missed ";
	return text + std::to_string(row.job) + " " + short_text(row.due) +
		   (row.until == row.due ? "" : " to " + short_text(row.until));
}

Texts taken(Timetable &table, const char *now, std::size_t most = 1000)
{
	Texts texts;
	for (const Occurrence &row : table.take_due(instant(now), most))
		texts.push_back(printed(row));
	return texts;
}

Timetable table_of(Timing job, const char *decided_until)
{
	Timetable table;
	table.set(1, std::move(job), instant(decided_until));
	return table;
}

TEST(Timetable, RunsWhatIsDueOnce)
{
	Timetable table = table_of(timing("0 * * * *"), "2026-06-01 09:30");
	EXPECT_EQ(text_of(table.next_wake()), "2026-06-01T10:00:00Z");
	EXPECT_EQ(taken(table, "2026-06-01 09:59:59"), Texts{});
	EXPECT_EQ(taken(table, "2026-06-01 10:00"), Texts{"run 1 06-01 10:00:00"});
	EXPECT_EQ(text_of(table.decided_until(1)), "2026-06-01T10:00:00Z");
	EXPECT_EQ(taken(table, "2026-06-01 10:00"), Texts{});
	EXPECT_EQ(text_of(table.next_wake()), "2026-06-01T11:00:00Z");
}

TEST(Timetable, IsLateWhenLongerAgoThanTheGrace)
{
	Timetable in_time = table_of(timing("0 10 * * *", Misfire::skip), "2026-06-01 09:30");
	EXPECT_EQ(taken(in_time, "2026-06-01 10:00:10"), Texts{"run 1 06-01 10:00:00"});
	Timetable late = table_of(timing("0 10 * * *", Misfire::skip), "2026-06-01 09:30");
	EXPECT_EQ(taken(late, "2026-06-01 10:00:10.000001"), Texts{"missed 1 06-01 10:00:00"});
}

TEST(Timetable, RunsEachThatIsWithinTheGrace)
{
	Timing job = timing("* * * * *", Misfire::skip);
	job.grace = 2min;
	Timetable table = table_of(job, "2026-06-01 10:00");
	EXPECT_EQ(taken(table, "2026-06-01 10:04"), (Texts{"missed 1 06-01 10:01:00", "run 1 06-01 10:02:00",
													   "run 1 06-01 10:03:00", "run 1 06-01 10:04:00"}));
}

TEST(Timetable, MisfireSkipMissesWhatIsLate)
{
	Timetable table = table_of(timing("0 * * * *", Misfire::skip), "2026-06-01 08:30");
	EXPECT_EQ(taken(table, "2026-06-01 10:30"), (Texts{"missed 1 06-01 09:00:00", "missed 1 06-01 10:00:00"}));
}

TEST(Timetable, MisfireOnceRunsTheLatest)
{
	Timetable table = table_of(timing("0 * * * *", Misfire::once), "2026-06-01 07:30");
	EXPECT_EQ(taken(table, "2026-06-01 10:30"),
			  (Texts{"missed 1 06-01 08:00:00", "missed 1 06-01 09:00:00", "run 1 06-01 10:00:00"}));
	EXPECT_EQ(text_of(table.decided_until(1)), "2026-06-01T10:00:00Z");
	EXPECT_EQ(text_of(table.next_wake()), "2026-06-01T11:00:00Z");
}

TEST(Timetable, MisfireOnceRunsNoneThatIsOutOfTheWindow)
{
	Timing job = timing("0 10 * * *", Misfire::once);
	job.window = 1h;
	Timetable within = table_of(job, "2026-06-01 00:00");
	EXPECT_EQ(taken(within, "2026-06-01 11:00"), Texts{"run 1 06-01 10:00:00"});
	Timetable beyond = table_of(job, "2026-06-01 00:00");
	EXPECT_EQ(taken(beyond, "2026-06-01 11:00:00.000001"), Texts{"missed 1 06-01 10:00:00"});
}

TEST(Timetable, MisfireAllRunsEachWithinTheWindow)
{
	Timing job = timing("0 * * * *", Misfire::all);
	job.window = 2h;
	Timetable table = table_of(job, "2026-06-01 06:30");
	EXPECT_EQ(taken(table, "2026-06-01 10:30"), (Texts{"missed 1 06-01 07:00:00", "missed 1 06-01 08:00:00",
													   "run 1 06-01 09:00:00", "run 1 06-01 10:00:00"}));
}

TEST(Timetable, MisfireAllRunsTheLatestWhereTheyAreTooMany)
{
	Timing job = timing("0 * * * *", Misfire::all);
	job.most_runs = 1;
	Timetable table = table_of(job, "2026-06-01 08:30");
	EXPECT_EQ(taken(table, "2026-06-01 10:30"), (Texts{"missed 1 06-01 09:00:00", "run 1 06-01 10:00:00"}));
}

TEST(Timetable, TellsAWeekendOfSecondsInFewRows)
{
	Timetable table = table_of(timing("* * * * * *", Misfire::once), "2026-06-05 18:00");
	const Texts rows = taken(table, "2026-06-08 18:00", 1);
	ASSERT_EQ(rows.size(), 52u);
	EXPECT_EQ(rows.front(), "missed 1 06-05 18:00:01 to 06-08 17:58:58");
	EXPECT_EQ(rows[1], "missed 1 06-08 17:58:59");
	EXPECT_EQ(rows.back(), "run 1 06-08 17:59:49");
	EXPECT_EQ(taken(table, "2026-06-08 18:00").size(), 11u); // in time
}

TEST(Timetable, DecidesNothingAgainWhenTheClockIsPutBack)
{
	Timetable table = table_of(timing("0 * * * *", Misfire::all), "2026-06-01 09:30");
	EXPECT_EQ(taken(table, "2026-06-01 12:00").size(), 3u);
	EXPECT_EQ(taken(table, "2026-06-01 10:00"), Texts{});
	EXPECT_EQ(text_of(table.decided_until(1)), "2026-06-01T12:00:00Z");
	EXPECT_EQ(taken(table, "2026-06-01 12:00"), Texts{});
	table.set(1, timing("30 * * * *", Misfire::all), instant("2026-06-01 10:00")); // 10:30 and 11:30 are not told
	EXPECT_EQ(taken(table, "2026-06-01 12:30"), Texts{"run 1 06-01 12:30:00"});
}

TEST(Timetable, ForgetsUndecidedTimesOfAnEditedJob)
{
	Timetable table = table_of(timing("0 * * * *"), "2026-06-01 09:30");
	table.set(1, timing("15 10 * * *"), instant("2026-06-01 10:05"));
	EXPECT_EQ(table.size(), 1u);
	EXPECT_EQ(taken(table, "2026-06-01 10:15"), Texts{"run 1 06-01 10:15:00"});
}

TEST(Timetable, ForgetsAJobThatIsRemoved)
{
	Timetable table = table_of(timing("0 * * * *"), "2026-06-01 09:30");
	table.remove(1);
	table.remove(2);
	EXPECT_EQ(table.size(), 0u);
	EXPECT_EQ(table.next_wake(), std::nullopt);
	EXPECT_EQ(taken(table, "2026-06-01 12:00"), Texts{});
}

TEST(Timetable, KeepsAJobThatHasNoOtherTime)
{
	Timetable table = table_of(timing("@at 2026-06-01 10:00"), "2026-06-01 09:30");
	EXPECT_EQ(taken(table, "2026-06-01 10:00"), Texts{"run 1 06-01 10:00:00"});
	EXPECT_EQ(table.next_wake(), std::nullopt);
	EXPECT_EQ(table.size(), 1u);
	EXPECT_EQ(text_of(table.decided_until(1)), "2026-06-01T10:00:00Z");
}

TEST(Timetable, HasTimesFromStartToEndOnly)
{
	Timing job = timing("0 * * * *", Misfire::all);
	job.starts_at = instant("2026-06-01 10:00");
	job.ends_at = instant("2026-06-01 12:00");
	Timetable table = table_of(job, "2026-06-01 06:30");
	EXPECT_EQ(taken(table, "2026-06-01 14:00"), (Texts{"run 1 06-01 10:00:00", "run 1 06-01 11:00:00"}));
	EXPECT_EQ(table.next_wake(), std::nullopt);
}

TEST(Timetable, OrdersByTimeThenJob)
{
	Timetable table;
	for (JobId id : {3, 1, 2})
		table.set(id, timing("0 * * * *", Misfire::all), instant("2026-06-01 09:30"));
	EXPECT_EQ(taken(table, "2026-06-01 11:00"),
			  (Texts{"run 1 06-01 10:00:00", "run 2 06-01 10:00:00", "run 3 06-01 10:00:00", "run 1 06-01 11:00:00",
					 "run 2 06-01 11:00:00", "run 3 06-01 11:00:00"}));
}

TEST(Timetable, LeavesForTheNextCallWhatIsTooMuch)
{
	Timetable table;
	for (JobId id = 1; id <= 3; id++)
		table.set(id, timing("0 * * * *"), instant("2026-06-01 09:30"));
	EXPECT_EQ(taken(table, "2026-06-01 10:00", 2), (Texts{"run 1 06-01 10:00:00", "run 2 06-01 10:00:00"}));
	EXPECT_EQ(text_of(table.next_wake()), "2026-06-01T10:00:00Z");
	EXPECT_EQ(taken(table, "2026-06-01 10:00", 2), Texts{"run 3 06-01 10:00:00"});
}

TEST(Timetable, RunsOnceInAGap)
{
	Timetable table = table_of(timing("30 2 * * *", "Europe/Berlin"), "2026-03-28 12:00");
	EXPECT_EQ(text_of(table.next_wake()), "2026-03-29T01:00:00Z"); // where 02:00 becomes 03:00
	EXPECT_EQ(taken(table, "2026-03-29 01:00"), Texts{"run 1 03-29 01:00:00"});
	EXPECT_EQ(text_of(table.next_wake()), "2026-03-30T00:30:00Z");
}

TEST(Timetable, RunsEachHourOfAnOverlap)
{
	Timing job = timing("30 * * * *", "Europe/Berlin");
	job.misfire = Misfire::all;
	Timetable table = table_of(job, "2026-10-25 00:00");
	EXPECT_EQ(taken(table, "2026-10-25 02:45"),
			  (Texts{"run 1 10-25 00:30:00", "run 1 10-25 01:30:00", "run 1 10-25 02:30:00"}));
	Timetable fixed = table_of(timing("30 2 * * *", "Europe/Berlin"), "2026-10-25 00:00");
	EXPECT_EQ(taken(fixed, "2026-10-25 00:30"), Texts{"run 1 10-25 00:30:00"});
	EXPECT_EQ(text_of(fixed.next_wake()), "2026-10-26T01:30:00Z");
}

std::vector<std::chrono::microseconds> offsets(JobId id, std::chrono::microseconds jitter)
{
	Timing job = timing("* * * * *", Misfire::all);
	job.jitter = jitter;
	Timetable table;
	table.set(id, job, instant("2026-06-01 10:00"));
	std::vector<std::chrono::microseconds> found;
	for (const Occurrence &row : table.take_due(instant("2026-06-01 11:00"), 1000))
		found.push_back(row.start - row.due);
	return found;
}

TEST(Timetable, SpreadsStartsOverTheJitter)
{
	const auto found = offsets(1, 1min);
	EXPECT_EQ(found, offsets(1, 1min));
	EXPECT_NE(found, offsets(2, 1min));
	const auto [least, most] = std::minmax_element(found.begin(), found.end());
	EXPECT_TRUE(0s <= *least && *least < 10s && 50s < *most && *most < 1min);
	for (auto offset : offsets(1, 0s))
		EXPECT_EQ(offset, 0s);
}

TEST(Misfire, IsKnownByName)
{
	EXPECT_EQ(misfire_of("skip"), Misfire::skip);
	EXPECT_EQ(misfire_of("once"), Misfire::once);
	EXPECT_EQ(misfire_of("all"), Misfire::all);
	EXPECT_EQ(misfire_of("All"), std::nullopt);
	EXPECT_EQ(misfire_of(""), std::nullopt);
}

} // namespace
} // namespace pgbraid::core::job
