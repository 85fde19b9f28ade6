#include "core/job/places.h"

#include <algorithm>
#include <gtest/gtest.h>
#include <random>

namespace pgbraid::core::job {
namespace {

using Runs = std::vector<std::int64_t>;

Instant minute(int minute)
{
	return Instant{std::chrono::minutes{minute}};
}

TEST(Places, GoByPriorityThenTimeThenRun)
{
	const std::vector<Waiting> waiting{{5, 1, -1, 0, minute(2)},
									   {4, 1, -1, 0, minute(1)},
									   {3, 1, -1, 0, minute(1)},
									   {2, 1, -1, 7, minute(3)},
									   {1, 1, -1, -7, minute(0)}};
	EXPECT_EQ(fill_places(waiting, {}), (Runs{2, 3, 4, 5, 1}));
	EXPECT_EQ(fill_places(waiting, {.total = {4, 1}}), (Runs{2, 3, 4}));
	EXPECT_EQ(fill_places(waiting, {.total = {1, 3}}), Runs{}); // the limit was lowered
}

TEST(Places, OfAFullJobHoldUpNoOther)
{
	const std::vector<Waiting> waiting{
		{1, 1, -1, 0, minute(0)}, {2, 1, -1, 0, minute(0)}, {3, 2, -1, 0, minute(1)}, {4, 1, -1, 0, minute(2)}};
	EXPECT_EQ(fill_places(waiting, {.total = {2, 0}, .jobs = {{1, {1, 0}}}}), (Runs{1, 3}));
	EXPECT_EQ(fill_places(waiting, {.jobs = {{1, {1, 1}}}}), Runs{3});
}

TEST(Places, OfAFullGroupHoldUpNoOther)
{
	const std::vector<Waiting> waiting{
		{1, 1, 9, 0, minute(0)}, {2, 2, 9, 0, minute(0)}, {3, 3, -1, 0, minute(1)}, {4, 4, 8, 0, minute(2)}};
	EXPECT_EQ(fill_places(waiting, {.groups = {{9, {1, 0}}}}), (Runs{1, 3, 4}));
	EXPECT_EQ(fill_places(waiting, {.groups = {{9, {0, 5}}, {8, {1, 1}}}}), (Runs{1, 2, 3}));
}

TEST(Places, AreTakenInAllSharesOrInNone)
{
	Places places{.total = {3, 0}, .groups = {{9, {2, 0}}}, .jobs = {{1, {1, 0}}}};
	EXPECT_TRUE(places.take(1, 9));
	EXPECT_FALSE(places.take(1, 9));
	EXPECT_EQ(places.groups.at(9).active, 1);
	EXPECT_TRUE(places.take(2, 9));
	EXPECT_FALSE(places.take(2, 9));
	EXPECT_EQ(places.total.active, 2);
	EXPECT_TRUE(places.take(2, -1));
	EXPECT_FALSE(places.take(2, -1));
}

class Random {
public:
	explicit Random(unsigned seed) : random_{seed} {}

	int below(int limit) { return static_cast<int>(random_() % static_cast<unsigned>(limit)); }

	std::vector<Waiting> waiting(int count)
	{
		std::vector<Waiting> runs;
		for (int run = 0; run < count; run++)
			runs.push_back({run, below(5), below(4) - 1, below(3), minute(below(5))});
		return runs;
	}

	Places places()
	{
		Places made{.total = {below(2) * below(40), below(4)}};
		for (int i = 0; i < 4; i++) {
			made.groups[i] = {below(10), below(4)};
			made.jobs[i] = {below(10), below(4)};
		}
		return made;
	}

	std::vector<Waiting> shuffled(std::vector<Waiting> runs)
	{
		std::shuffle(runs.begin(), runs.end(), random_);
		return runs;
	}

private:
	std::mt19937 random_;
};

// Run by run, counting those that came before anew each time.
Runs expected(std::vector<Waiting> waiting, const Places &places)
{
	std::stable_sort(waiting.begin(), waiting.end(), [](auto &a, auto &b) { return a.run < b.run; });
	std::stable_sort(waiting.begin(), waiting.end(), [](auto &a, auto &b) { return a.run_at < b.run_at; });
	std::stable_sort(waiting.begin(), waiting.end(), [](auto &a, auto &b) { return a.priority > b.priority; });
	std::vector<Waiting> chosen;
	const auto is_full = [&](Places::Share share, auto is_counted) {
		const auto more = std::count_if(chosen.begin(), chosen.end(), is_counted);
		return share.limit != 0 && share.active + more >= share.limit;
	};
	for (const Waiting &run : waiting)
		if (!is_full(places.total, [](auto &) { return true; }) &&
			(run.job == 4 || !is_full(places.jobs.at(run.job), [&](auto &other) { return other.job == run.job; })) &&
			(run.group < 0 ||
			 !is_full(places.groups.at(run.group), [&](auto &other) { return other.group == run.group; })))
			chosen.push_back(run);
	Runs runs;
	for (const Waiting &run : chosen)
		runs.push_back(run.run);
	return runs;
}

TEST(Places, AreFilledAsFarAsTheyGo)
{
	Random random{1};
	for (int round = 0; round < 500; round++) {
		const std::vector<Waiting> waiting = random.waiting(40);
		const Places places = random.places();
		ASSERT_EQ(fill_places(random.shuffled(waiting), places), expected(waiting, places)) << "round " << round;
	}
}

} // namespace
} // namespace pgbraid::core::job
