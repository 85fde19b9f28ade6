// pgbraid.jobs and pgbraid.job_runs as vectors, for simulations; with what src/catalog/jobs does to them.
#pragma once
#include "core/job/admission.h"
#include "core/job/places.h"
#include "moment.h"

#include <algorithm>
#include <ostream>
#include <tuple>
#include <unordered_map>
#include <vector>

namespace pgbraid::core::job {

struct Run {
	enum class State { waiting, ready, running, stopping, ended, skipped, missed, cancelled };

	std::int64_t id;
	Instant due, until, run_at;
	int priority;
	State state;

	bool operator==(const Run &) const = default;
	bool is_waiting() const { return state == State::waiting; }
	bool is_active() const { return state == State::ready || state == State::running || state == State::stopping; }
	bool is_executing() const { return state == State::running || state == State::stopping; }
	bool has_ended() const { return !is_waiting() && !is_active(); }
};

inline std::ostream &operator<<(std::ostream &out, const Run &run)
{
	constexpr const char *states[] = {"waiting", "ready",	"running", "stopping",
									  "ended",	 "skipped", "missed",  "cancelled"};
	return out << run.id << " at " << text_of(run.due) << " is " << states[static_cast<int>(run.state)];
}

struct Options {
	Overlap overlap = Overlap::allow;
	int concurrency = 0; // 0: not given
	int queue_limit = 0;
};

struct Job {
	JobId id;
	Timing timing;
	Options options;
	Instant decided_until;
	std::vector<Run> runs = {};
	std::vector<std::size_t> open = {}; // those that have not ended

	// The column of that name.
	int concurrency() const
	{
		return options.concurrency == 0 && options.overlap != Overlap::allow ? 1 : options.concurrency;
	}
	Rule rule() const { return {options.overlap, concurrency(), options.queue_limit}; }

	// In state `ready` also where it has to wait.
	void add(Run run, Instant now)
	{
		if (run.state == Run::State::ready && (concurrency() > 0 || run.run_at > now))
			run.state = Run::State::waiting;
		if (!run.has_ended())
			open.push_back(runs.size());
		runs.push_back(run);
	}

	void each_open(auto do_this)
	{
		for (const std::size_t i : open)
			do_this(i, runs[i]);
		std::erase_if(open, [&](std::size_t i) { return runs[i].has_ended(); });
	}

	void replace_runs()
	{
		each_open([](std::size_t, Run &run) {
			run.state = run.is_executing() ? Run::State::stopping : Run::State::cancelled;
		});
	}

	Load load() const
	{
		return {count([](const Run &run) { return run.is_active(); }),
				count([](const Run &run) { return run.is_waiting(); }),
				count([](const Run &run) { return run.is_executing(); })};
	}

	// As many as could get a place, those that come first.
	std::vector<Waiting> waiting(Instant now) const
	{
		std::vector<Waiting> found;
		for (const std::size_t i : open)
			if (runs[i].is_waiting() && runs[i].run_at <= now)
				found.push_back({runs[i].id, id, -1, runs[i].priority, runs[i].run_at});
		std::sort(found.begin(), found.end(), [](const Waiting &a, const Waiting &b) {
			return std::tuple(-a.priority, a.run_at, a.run) < std::tuple(-b.priority, b.run_at, b.run);
		});
		const std::size_t most = concurrency() > 0 ? static_cast<std::size_t>(concurrency()) : 1000;
		found.resize(std::min(found.size(), most), Waiting{});
		return found;
	}

private:
	int count(auto condition) const
	{
		return static_cast<int>(
			std::count_if(open.begin(), open.end(), [&](std::size_t i) { return condition(runs[i]); }));
	}
};

} // namespace pgbraid::core::job
