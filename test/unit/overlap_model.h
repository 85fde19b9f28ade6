// What docs/jobs.md says of overlap, in the plainest way: one time after the other, and one place after the other.
#pragma once
#include "job_tables.h"

#include <algorithm>
#include <tuple>
#include <vector>

namespace pgbraid::core::job {

class OverlapModel {
public:
	explicit OverlapModel(Options options) : options_{options} {}

	void alter(Options options) { options_ = options; }

	void come_due(std::int64_t id, const Occurrence &time, Instant now)
	{
		const Run run{id, time.due, time.until, time.start, 0, Run::State::skipped};
		if (time.fate == Occurrence::Fate::missed)
			add(run, Run::State::missed);
		else if (may_come())
			add(run, begin_of(run, now));
		else
			add(run, Run::State::skipped);
	}

	void be_asked_for(std::int64_t id, Instant now, int priority)
	{
		const Run run{id, now, now, now, priority, Run::State::ready};
		add(run, begin_of(run, now));
	}

	std::vector<Run *> waiting_since(Instant now)
	{
		std::vector<Run *> found;
		for (const std::size_t i : not_ended())
			if (runs_[i].is_waiting() && runs_[i].run_at <= now)
				found.push_back(&runs_[i]);
		return found;
	}

	bool has_place()
	{
		const std::vector<std::size_t> &open = not_ended();
		const auto active =
			std::count_if(open.begin(), open.end(), [&](std::size_t i) { return runs_[i].is_active(); });
		return !is_limited() || active < places();
	}

	const std::vector<Run> &runs() const { return runs_; }
	Run &operator[](std::size_t index) { return runs_[index]; }

private:
	bool is_limited() const { return options_.concurrency != 0 || options_.overlap != Overlap::allow; }
	int places() const { return options_.concurrency == 0 ? 1 : options_.concurrency; }

	Run::State begin_of(const Run &run, Instant now) const
	{
		return is_limited() || run.run_at > now ? Run::State::waiting : Run::State::ready;
	}

	bool may_come()
	{
		std::size_t queued = 0;
		bool is_in_the_way = false;
		seat(queued, is_in_the_way);
		if (!is_in_the_way)
			return true;
		switch (options_.overlap) {
			case Overlap::allow: return true;
			case Overlap::skip: return false;
			case Overlap::queue_one: return queued == 0;
			case Overlap::queue_all: return queued < static_cast<std::size_t>(options_.queue_limit);
			case Overlap::replace: cancel_all();
		}
		return true;
	}

	// Those that have begun have places, and then those that wait, as far as places go.
	void seat(std::size_t &queued, bool &is_full)
	{
		int left = places();
		const std::vector<std::size_t> &open = not_ended();
		for (const std::size_t i : open)
			if (runs_[i].is_active())
				left--;
		for (const std::size_t i : open)
			if (runs_[i].is_waiting() && left-- <= 0)
				queued++;
		is_full = left <= 0;
	}

	void cancel_all()
	{
		for (const std::size_t i : not_ended())
			if (runs_[i].state == Run::State::running || runs_[i].state == Run::State::stopping)
				runs_[i].state = Run::State::stopping;
			else
				runs_[i].state = Run::State::cancelled;
	}

	void add(Run run, Run::State state)
	{
		run.state = state;
		runs_.push_back(run);
		open_.push_back(runs_.size() - 1);
	}

	const std::vector<std::size_t> &not_ended()
	{
		std::erase_if(open_, [&](std::size_t i) { return runs_[i].has_ended(); });
		return open_;
	}

	Options options_;
	std::vector<Run> runs_;
	std::vector<std::size_t> open_; // and some that have ended since
};

// Gives places, the one after the other: at most `total` of them (0: any number).
inline std::vector<std::int64_t> give_places(std::vector<OverlapModel> &models, Instant now, int total, int active)
{
	std::vector<std::tuple<int, Instant, std::int64_t, Run *, OverlapModel *>> turns;
	for (OverlapModel &model : models)
		for (Run *run : model.waiting_since(now))
			turns.emplace_back(-run->priority, run->run_at, run->id, run, &model);
	std::sort(turns.begin(), turns.end());
	std::vector<std::int64_t> given;
	for (const auto &[priority, run_at, id, run, model] : turns) {
		if ((total != 0 && active >= total) || !model->has_place())
			continue;
		run->state = Run::State::ready;
		active++;
		given.push_back(id);
	}
	return given;
}

} // namespace pgbraid::core::job
