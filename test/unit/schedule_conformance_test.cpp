// The cases of public test suites (test/data/cron), each under the dialect that its suite has. What we do otherwise is
// listed here and, with the reason, in docs/jobs.md.
#include "core/job/expression_parser.h"
#include "core/job/schedule.h"
#include "zone_file.h"

#include <gtest/gtest.h>
#include <map>
#include <set>
#include <sstream>

namespace pgbraid::core::job {
namespace {

struct Case {
	std::string suite, line, dialect, expression, zone, from, inclusive, expected;

	std::set<std::string> flags() const
	{
		std::istringstream words{dialect};
		return {std::istream_iterator<std::string>{words}, {}};
	}
};

std::string unescaped(std::string text)
{
	for (std::size_t at; (at = text.find("\\t")) != text.npos;)
		text.replace(at, 2, "\t");
	return text;
}

std::vector<Case> cases_of(const std::string &file)
{
	std::ifstream input{TEST_DATA "/cron/" + file};
	if (!input)
		throw std::runtime_error{"there is no " TEST_DATA "/cron/" + file};
	std::vector<Case> cases;
	std::string line;
	std::getline(input, line); // the names of the columns
	while (std::getline(input, line)) {
		std::istringstream columns{line};
		Case one;
		for (auto *column : {&one.suite, &one.line, &one.dialect, &one.expression, &one.zone, &one.from, &one.inclusive,
							 &one.expected})
			std::getline(columns, *column, '\t');
		one.expression = unescaped(one.expression);
		cases.push_back(one);
	}
	return cases;
}

Instant instant(const std::string &text)
{
	auto expression = parse_expression("@at " + text);
	if (!expression)
		throw std::runtime_error{"not a time: " + text};
	return Instant{std::get<At>(expression.value()).time.time_since_epoch()};
}

std::string text_of(std::optional<Instant> time)
{
	return time ? to_string(At{std::chrono::local_time<std::chrono::microseconds>{time->time_since_epoch()}, true})
				: "none";
}

const Zone &zone_named(const std::string &name)
{
	static std::map<std::string, ZoneFile> zones;
	return zones.try_emplace(name, name).first->second;
}

// The policy that stands for a letter of the data's README.
Policy policy_of(const std::set<std::string> &flags)
{
	Policy policy;
	policy.days = flags.contains("dow=and") ? DayRule::both : DayRule::either;
	if (flags.contains("dst=A"))
		policy.gap = GapPolicy::after;
	if (flags.contains("dst=B"))
		policy.overlap = OverlapPolicy::both;
	if (flags.contains("dst=B") || flags.contains("dst=C"))
		policy.gap = GapPolicy::skip;
	return policy;
}

// croniter has the seconds last.
std::string seconds_first(const std::string &expression)
{
	const std::size_t blank = expression.rfind(' ');
	return expression.substr(blank + 1) + ' ' + expression.substr(0, blank);
}

std::string outcome(const Case &one)
{
	const auto flags = one.flags();
	auto expression = parse_expression(flags.contains("seconds=last") ? seconds_first(one.expression) : one.expression);
	if (!expression)
		return "invalid";
	if (one.expected == "invalid")
		return "valid";
	const Schedule schedule{*expression, policy_of(flags)};
	const Instant from = instant(one.from) - std::chrono::microseconds{one.inclusive == "t" ? 1 : 0};
	return text_of(schedule.next(from, zone_named(one.zone)));
}

std::string expected(const Case &one)
{
	return one.expected == "none" || one.expected == "invalid" ? one.expected : text_of(instant(one.expected));
}

// Cases that we answer otherwise than their suite: those with that flag, or of those lines. `count` says how many, so
// that none joins them unnoticed. docs/jobs.md has the reasons.
struct Deviation {
	const char *suite, *flag;
	std::set<std::string> lines;
	int count;

	bool covers(const Case &one) const
	{
		return suite == one.suite && (one.flags().contains(flag) || lines.contains(one.line));
	}
};

const std::vector<Deviation> &deviations()
{
	static const std::vector<Deviation> all{
		{"cronos", "fieldcount", {}, 1},	 {"cronos", "H", {}, 45},		   {"cronos", "list", {}, 4},
		{"cronos", "", {"1672", "1674"}, 2}, // the moment after a gap, asked for as such
		{"robfig-spec", "starstep", {}, 2},	 {"supertinycron", "year", {}, 7}, {"supertinycron", "Ldow", {}, 3},
		{"supertinycron", "Wall", {}, 2},	 {"supertinycron", "wrap", {}, 1}, {"supertinycron", "list", {}, 1},
		{"croniter", "quirk", {}, 14},		 {"croniter", "year", {}, 14},	   {"croniter", "x-x", {}, 78},
		{"croniter", "starstep", {}, 4},	 {"croniter", "list", {}, 4},	   {"croniter", "Wclamp", {}, 1},
		{"croniter", "Wfirst", {}, 1},		 {"croniter", "?", {}, 2},		   {"spring", "quirk", {}, 1},
		{"spring", "fieldcount", {}, 1},
	};
	return all;
}

const Deviation *deviation_of(const Case &one)
{
	for (const Deviation &deviation : deviations())
		if (deviation.covers(one))
			return &deviation;
	return nullptr;
}

// There is nothing between what was asked from and the answer, on the way back either.
void check_way_back(const Case &one)
{
	const Schedule schedule{parse_expression(one.expression).value(), policy_of(one.flags())};
	const Zone &zone = zone_named(one.zone);
	const Instant from = instant(one.from) - std::chrono::microseconds{one.inclusive == "t" ? 1 : 0};
	const Instant found = instant(one.expected);
	EXPECT_EQ(text_of(schedule.previous(found + std::chrono::microseconds{1}, zone)), text_of(found)) << one.line;
	const auto before = schedule.previous(found, zone);
	EXPECT_TRUE(!before || *before <= from) << one.line << " after " << one.from;
}

void check(const std::string &file)
{
	std::map<const Deviation *, int> found;
	int agreed = 0;
	for (const Case &one : cases_of(file)) {
		const std::string is = outcome(one), should = expected(one);
		const Deviation *deviation = is == should ? nullptr : deviation_of(one);
		if (deviation) {
			found[deviation]++;
			continue;
		}
		EXPECT_EQ(is, should) << one.suite << ':' << one.line << " \"" << one.expression << "\" " << one.zone
							  << " from " << one.from << " (" << one.dialect << ')';
		agreed++;
		if (is == should && is.front() >= '0' && is.front() <= '9' && !one.flags().contains("seconds=last"))
			check_way_back(one);
	}
	for (const auto &[deviation, count] : found)
		EXPECT_EQ(count, deviation->count) << deviation->suite << ' ' << deviation->flag;
	EXPECT_GT(agreed, 80);
}

// The list is exact: each deviation in it has been met.
TEST(CronConformance, DeviationsAddUp)
{
	std::map<std::string, int> listed;
	for (const Deviation &deviation : deviations())
		listed[deviation.suite] += deviation.count;
	std::map<std::string, int> met;
	for (const char *file : {"cronos.tsv", "robfig.tsv", "supertinycron.tsv", "croniter.tsv", "spring.tsv"})
		for (const Case &one : cases_of(file))
			met[one.suite] += outcome(one) != expected(one);
	met.erase("robfig-parser"); // none
	EXPECT_EQ(met, listed);
}

TEST(CronConformance, Cronos)
{
	check("cronos.tsv");
}
TEST(CronConformance, Robfig)
{
	check("robfig.tsv");
}
TEST(CronConformance, Supertinycron)
{
	check("supertinycron.tsv");
}
TEST(CronConformance, Croniter)
{
	check("croniter.tsv");
}
TEST(CronConformance, Spring)
{
	check("spring.tsv");
}

} // namespace
} // namespace pgbraid::core::job
