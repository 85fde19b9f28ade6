// 10,000 jobs of all overlap policies through clocks that jump, transactions that fail and processes that end: what the
// scheduler makes of the times of their schedules (src/job/decider, src/job/promotion), against models. Rows are
// vectors here, and runs take as many steps as they like.
#include "overlap_model.h"
#include "random_timing.h"
#include "timetable_model.h"

#include <map>

namespace pgbraid::core::job {
namespace {

using namespace std::chrono_literals;
using State = Run::State;

class Simulation {
public:
	static constexpr int job_count = 10'000, dense_jobs = 30;

	Simulation(unsigned seed, Instant start)
		: sparse_{seed, start, RandomTiming::Density::sparse}, dense_{seed, start, RandomTiming::Density::dense},
		  now_{start}
	{
		for (JobId id = 0; id < job_count; id++) {
			jobs_.push_back({id, id < dense_jobs ? dense_() : sparse_(), any_options(), start - 1h});
			times_.emplace_back(id, jobs_.back().timing, start - 1h);
			models_.emplace_back(jobs_.back().options);
		}
		restart();
	}

	void step()
	{
		steps_++;
		move_clock();
		disturb();
		decide();
		promote();
		work();
	}

	void finish() const
	{
		for (std::size_t id = 0; id < jobs_.size(); id++) {
			ASSERT_EQ(jobs_[id].runs, models_[id].runs()) << "job " << id;
			times_[id].check_told();
		}
	}

	std::map<State, int> states() const
	{
		std::map<State, int> counts;
		for (const Job &job : jobs_)
			for (const Run &run : job.runs)
				counts[run.state]++;
		return counts;
	}

	int replaced_at_once() const { return replaced_at_once_; }
	std::size_t promoted() const { return promoted_; }

private:
	Job &job(JobId id) { return jobs_[static_cast<std::size_t>(id)]; }
	OverlapModel &model(JobId id) { return models_[static_cast<std::size_t>(id)]; }
	int below(int limit) { return sparse_.below(limit); }
	JobId any_job() { return below(3) == 0 ? below(dense_jobs) : below(job_count); }

	Options any_options() { return {static_cast<Overlap>(below(5)), below(4), 1 + below(3)}; }

	void move_clock()
	{
		switch (below(100)) {
			case 0: now_ += 1min; break;
			case 1: now_ -= 1min; break;
			case 2: now_ += 8h; break;
			case 3: now_ -= 8h; break;
			case 4: now_ += below(3) == 0 ? 72h : 0h; break;
			default: now_ += std::chrono::seconds{below(1200)};
		}
	}

	void disturb()
	{
		if (below(50) == 0)
			restart();
		if (below(10) == 0)
			total_limit_ = below(2) * (1 + below(300));
		for (int i = below(4); i > 0; i--)
			alter(any_job());
		for (int i = below(40); i > 0; i--)
			ask_for(any_job(), below(3) - 1);
	}

	void alter(JobId id)
	{
		job(id).options = any_options();
		model(id).alter(job(id).options);
		rules_[id] = job(id).rule();
	}

	void restart()
	{
		table_ = Timetable{};
		for (const Job &job : jobs_)
			follow(job);
	}

	void follow(const Job &job)
	{
		table_.set(job.id, job.timing, job.decided_until);
		rules_[job.id] = job.rule();
	}

	void ask_for(JobId id, int priority)
	{
		const std::int64_t run = add(id, {0, now_, now_, now_, priority, State::ready});
		model(id).be_asked_for(run, now_, priority);
	}

	std::int64_t add(JobId id, Run run)
	{
		run.id = static_cast<std::int64_t>(of_run_.size());
		of_run_.emplace_back(id, job(id).runs.size());
		stops_at_.push_back(0);
		job(id).add(run, now_);
		return run.id;
	}

	void decide()
	{
		for (int round = 0; round < 20; round++) {
			const std::array<std::size_t, 4> sizes{1, 7, 250, 1'000'000};
			const std::vector<Occurrence> taken = table_.take_due(now_, sizes[static_cast<std::size_t>(below(4))]);
			if (taken.empty())
				return;
			switch (below(30)) {
				case 0: restart(); break; // before anything of that was stored
				case 1: decide_one_by_one(taken); break;
				default: write(taken); break;
			}
		}
	}

	// The transaction failed, and that of one job or the other fails, too.
	void decide_one_by_one(const std::vector<Occurrence> &taken)
	{
		std::map<JobId, std::vector<Occurrence>> of_jobs;
		for (const Occurrence &occurrence : taken)
			of_jobs[occurrence.job].push_back(occurrence);
		for (const auto &[id, occurrences] : of_jobs) {
			if (below(3) != 0) {
				write(occurrences);
				continue;
			}
			table_.remove(id);
			follow(job(id));
		}
	}

	void write(const std::vector<Occurrence> &taken)
	{
		std::unordered_map<JobId, Load> loads;
		for (const Occurrence &occurrence : taken)
			loads[occurrence.job] = job(occurrence.job).load();
		const Verdicts verdicts = judge(taken, rules_, loads);
		for (const JobId id : verdicts.replaced)
			job(id).replace_runs();
		ASSERT_EQ(verdicts.each.size(), taken.size());
		std::map<JobId, std::vector<Occurrence>> of_jobs;
		for (std::size_t i = 0; i < taken.size(); i++) {
			const Occurrence &time = taken[i];
			const State state = state_of(verdicts.each[i]);
			replaced_at_once_ += state == State::cancelled;
			model(time.job).come_due(add(time.job, {0, time.due, time.until, time.start, 0, state}), time, now_);
			of_jobs[time.job].push_back(time);
		}
		for (auto &[id, times] : of_jobs)
			check(job(id), times);
	}

	static State state_of(Verdict verdict)
	{
		switch (verdict) {
			case Verdict::runs: break;
			case Verdict::skipped: return State::skipped;
			case Verdict::missed: return State::missed;
			case Verdict::cancelled: return State::cancelled;
		}
		return State::ready;
	}

	// Are these the next times of the job, and is what has become of its runs what the policy says?
	void check(Job &job, std::vector<Occurrence> &told)
	{
		for (Occurrence &time : told)
			time.start = time.due;
		ModelJob &times = times_[static_cast<std::size_t>(job.id)];
		std::vector<Occurrence> expected = times.judge(now_).rows;
		ASSERT_GE(expected.size(), told.size());
		expected.resize(told.size(), told.front());
		ASSERT_EQ(told, expected);
		times.tell(told);
		job.decided_until = table_.decided_until(job.id);
		ASSERT_EQ(job.decided_until, times.decided_until());
		ASSERT_EQ(job.runs, model(job.id).runs()) << "job " << job.id;
	}

	void promote()
	{
		Places places{.total = {total_limit_, 0}};
		std::vector<Waiting> waiting;
		for (const Job &job : jobs_) {
			const int active = job.load().active;
			places.total.active += active;
			if (job.concurrency() > 0)
				places.jobs[job.id] = {job.concurrency(), active};
			const std::vector<Waiting> own = job.waiting(now_);
			waiting.insert(waiting.end(), own.begin(), own.end());
		}
		const int active = places.total.active;
		const std::vector<std::int64_t> chosen = fill_places(std::move(waiting), std::move(places));
		ASSERT_EQ(chosen, give_places(models_, now_, total_limit_, active));
		for (const std::int64_t run : chosen)
			row(run).state = State::ready;
		promoted_ += chosen.size();
	}

	Run &row(std::int64_t run)
	{
		const auto [id, index] = of_run_[static_cast<std::size_t>(run)];
		return job(id).runs[index];
	}

	// What executors do.
	void work()
	{
		for (Job &job : jobs_)
			job.each_open([&](std::size_t i, Run &run) { model(job.id)[i].state = run.state = worked(run); });
	}

	State worked(const Run &run)
	{
		int &stops_at = stops_at_[static_cast<std::size_t>(run.id)];
		if (run.state == State::ready && below(4) != 0) {
			stops_at = steps_ + std::array{0, 1, 2, 6, 40}[static_cast<std::size_t>(below(5))];
			return State::running;
		}
		if (run.state == State::running && steps_ >= stops_at)
			return State::ended;
		return run.state == State::stopping && below(2) == 0 ? State::cancelled : run.state;
	}

	RandomTiming sparse_, dense_;
	Instant now_;
	int steps_ = 0, total_limit_ = 0, replaced_at_once_ = 0;
	std::size_t promoted_ = 0;
	Timetable table_;
	std::unordered_map<JobId, Rule> rules_;
	std::vector<Job> jobs_;
	std::vector<ModelJob> times_;
	std::vector<OverlapModel> models_;
	std::vector<std::pair<JobId, std::size_t>> of_run_; // its job, and which of its runs it is
	std::vector<int> stops_at_;							// of each run
};

TEST(OverlapSimulation, AgreesWithModel)
{
	Simulation simulation{1, instant("2026-10-22 12:00")};
	for (int i = 0; i < 300 && !HasFatalFailure(); i++)
		simulation.step();
	if (HasFatalFailure())
		return;
	simulation.finish();
	std::map<State, int> states = simulation.states();
	EXPECT_GT(states[State::ended], 10'000);
	EXPECT_GT(states[State::missed], 10'000);
	EXPECT_GT(states[State::skipped], 10'000);
	EXPECT_GT(states[State::cancelled], 4'000);
	EXPECT_GT(simulation.replaced_at_once(), 1'000);
	EXPECT_GT(simulation.promoted(), 10'000);
}

} // namespace
} // namespace pgbraid::core::job
