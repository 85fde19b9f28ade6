// A timetable through days in which clocks change, the system's clock jumps, processes end, and jobs are edited and
// dropped, against a model that enumerates.
#include "random_timing.h"
#include "timetable_model.h"

#include <map>

namespace pgbraid::core::job {
namespace {

using namespace std::chrono_literals;
using Rows = std::vector<Occurrence>;

struct Scale {
	RandomTiming::Density density;
	int jobs, steps;
	std::chrono::seconds longest_step;
};

class Simulation {
public:
	Simulation(unsigned seed, Instant start, Scale scale)
		: scale_{scale}, timing_{seed, start, scale.density}, now_{start}
	{
		for (JobId id = 1; id <= scale.jobs; id++)
			add(id, start - std::chrono::seconds{timing_.below(7200)});
	}

	void step()
	{
		move_clock();
		switch (timing_.below(12)) {
			case 0: edit(any_job()); break;
			case 1: replace(any_job()); break;
			case 2:
				if (timing_.below(20) == 0)
					restart();
				break;
			default: break;
		}
		const std::size_t most =
			std::array<std::size_t, 4>{1, 7, 50, 1'000'000}[static_cast<std::size_t>(timing_.below(4))];
		Rows taken = table_.take_due(now_, most);
		if (timing_.below(200) == 0) {
			restart(); // before anything of that was stored
			const Rows again = table_.take_due(now_, most);
			ASSERT_EQ(again, taken);
		}
		check(taken, most);
		count(taken);
	}

	void finish() const
	{
		ASSERT_EQ(table_.size(), jobs_.size());
		for (const auto &[id, job] : jobs_) {
			ASSERT_EQ(table_.decided_until(id), job.decided_until());
			job.check_told();
		}
	}

	Instant now() const { return now_; }

	int runs = 0, missed = 0, spans = 0;

private:
	void add(JobId id, Instant decided_until)
	{
		const Timing timing = timing_();
		table_.set(id, timing, decided_until);
		jobs_.emplace(id, ModelJob{id, timing, decided_until});
	}

	JobId any_job() { return std::next(jobs_.begin(), timing_.below(scale_.jobs))->first; }

	// From now on, mostly; else from where it was, if that is later.
	void edit(JobId id)
	{
		const auto old = jobs_.find(id);
		const Instant from = timing_.below(4) == 0 ? now_ - 3h : now_,
					  decided = std::max(old->second.decided_until(), from);
		old->second.check_told();
		const Timing timing = timing_();
		table_.set(id, timing, from);
		old->second = ModelJob{id, timing, decided};
	}

	void replace(JobId id)
	{
		jobs_.at(id).check_told();
		jobs_.erase(id);
		table_.remove(id);
		add(++newest_, now_ - 30min);
	}

	void restart()
	{
		table_ = Timetable{};
		for (const auto &[id, job] : jobs_)
			table_.set(id, job.timing(), job.decided_until());
	}

	void move_clock()
	{
		const auto wake = table_.next_wake();
		switch (timing_.below(100)) {
			case 0: now_ += 1min; break;
			case 1: now_ -= 1min; break;
			case 2: now_ += 8h; break;
			case 3: now_ -= 8h; break;
			case 4:
				if (timing_.below(4) == 0)
					now_ += 72h;
				break;
			default:
				if (wake && timing_.below(2) == 0)
					now_ = std::max(now_, *wake - std::chrono::microseconds{timing_.below(2)});
				else
					now_ += std::chrono::microseconds{scale_.longest_step} / 1000 * timing_.below(1000);
		}
	}

	void check(const Rows &taken, std::size_t most)
	{
		ASSERT_LT(taken.size(), most + 100 + Timetable::told_singly + 1);
		std::map<JobId, Rows> of_job;
		for (const Occurrence &row : taken)
			of_job[row.job].push_back(row);
		const auto in_turn = [](const Occurrence &a, const Occurrence &b) {
			return std::pair(a.due, a.job) < std::pair(b.due, b.job);
		};
		ASSERT_TRUE(std::is_sorted(taken.begin(), taken.end(), in_turn));
		Instant latest_turn = Instant::min();
		for (auto &[id, rows] : of_job)
			check_job(id, rows, latest_turn);
		check_rest(taken.size() < most, latest_turn);
	}

	// What the model says, or, where `most` was reached, its begin.
	void check_job(JobId id, Rows &rows, Instant &latest_turn)
	{
		ModelJob &job = jobs_.at(id);
		for (Occurrence &row : rows) {
			ASSERT_TRUE(row.due <= row.start && (row.start == row.due || row.start < row.due + job.timing().jitter));
			row.start = row.due;
		}
		auto [expected, late] = job.judge(now_);
		ASSERT_GE(expected.size(), rows.size());
		ASSERT_GE(rows.size(), late);
		expected.resize(rows.size(), rows.front());
		ASSERT_EQ(rows, expected);
		const Instant turn = rows.size() > late ? rows.back().due : rows.front().due;
		latest_turn = std::max(latest_turn, turn);
		job.tell(rows);
		ASSERT_EQ(table_.decided_until(id), job.decided_until());
	}

	void check_rest(bool all_taken, Instant latest_turn)
	{
		std::optional<Instant> first;
		for (const auto &[id, job] : jobs_)
			if (job.first() && (!first || *job.first() < *first))
				first = job.first();
		ASSERT_EQ(table_.next_wake(), first);
		ASSERT_TRUE(!first || *first >= latest_turn);
		ASSERT_TRUE(!first || *first > now_ || !all_taken);
	}

	void count(const Rows &taken)
	{
		for (const Occurrence &row : taken) {
			runs += row.fate == Occurrence::Fate::run;
			missed += row.fate == Occurrence::Fate::missed;
			spans += row.until != row.due;
		}
	}

	Scale scale_;
	RandomTiming timing_;
	Instant now_;
	Timetable table_;
	std::map<JobId, ModelJob> jobs_;
	JobId newest_ = scale_.jobs;
};

class TimetableSimulation : public testing::TestWithParam<const char *> {
protected:
	void run(unsigned seed, Scale scale)
	{
		SCOPED_TRACE(seed);
		Simulation simulation{seed, instant(GetParam()), scale};
		for (int i = 0; i < scale.steps && !HasFatalFailure(); i++)
			simulation.step();
		if (!HasFatalFailure())
			simulation.finish();
		EXPECT_GT(simulation.now(), instant(GetParam()) + 12h);
		runs += simulation.runs, missed += simulation.missed, spans += simulation.spans;
	}

	int runs = 0, missed = 0, spans = 0;
};

TEST_P(TimetableSimulation, OfManySparseJobsAgreesWithModel)
{
	run(1, {RandomTiming::Density::sparse, 10'000, 600, 20min});
	EXPECT_GT(runs, 10'000);
	EXPECT_GT(missed, 10'000);
}

TEST_P(TimetableSimulation, OfFewDenseJobsAgreesWithModel)
{
	for (unsigned seed = 1; seed <= 4; seed++)
		run(seed, {RandomTiming::Density::dense, 10, 600, 10min});
	EXPECT_GT(runs, 10'000);
	EXPECT_GT(missed, 10'000);
	EXPECT_GT(spans, 100);
}

INSTANTIATE_TEST_SUITE_P(Clocks, TimetableSimulation,
						 testing::Values("2026-03-27 12:00", "2026-04-03 12:00", "2026-10-02 00:00",
										 "2026-10-23 12:00"),
						 [](const auto &start) { return "Case" + std::to_string(start.index); });

} // namespace
} // namespace pgbraid::core::job
