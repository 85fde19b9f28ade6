// What a timetable is to do, in the plainest way: each time of a schedule is enumerated, forward, and looked at.
#pragma once
#include "core/job/timetable.h"
#include "moment.h"

#include <algorithm>
#include <gtest/gtest.h>
#include <ostream>
#include <vector>

namespace pgbraid::core::job {

inline std::ostream &operator<<(std::ostream &out, const Occurrence &row)
{
	out << (row.fate == Occurrence::Fate::run ? "run " : "missed ") << row.job << " at " << text_of(row.due);
	return row.until == row.due ? out : out << " to " << text_of(row.until);
}

class ModelJob {
public:
	ModelJob(JobId id, Timing timing, Instant decided_until)
		: id_{id}, timing_{std::move(timing)}, begun_{decided_until}, decided_until_{decided_until}, first_{next(
																										 decided_until)}
	{
	}

	const Timing &timing() const { return timing_; }
	Instant decided_until() const { return decided_until_; }
	std::optional<Instant> first() const { return first_; } // that is not decided upon

	// Those after `after`, up to and including `until`.
	std::vector<Instant> times(Instant after, Instant until) const
	{
		std::vector<Instant> found;
		for (auto time = next(after); time && *time <= until; time = next(*time))
			found.push_back(*time);
		return found;
	}

	struct Judged {
		std::vector<Occurrence> rows;
		std::size_t late; // the first ones, which belong together
	};
	Judged judge(Instant now) const
	{
		const std::vector<Instant> due = times(decided_until_, now);
		const auto first_in_time = std::find_if(due.begin(), due.end(), [&](Instant t) { return !is_late(t, now); });
		std::vector<Occurrence> rows = judge_late({due.begin(), first_in_time}, now);
		const std::size_t late = rows.size();
		for (auto time = first_in_time; time != due.end(); ++time)
			rows.push_back(row(*time, *time, Occurrence::Fate::run));
		return {rows, late};
	}

	void tell(const std::vector<Occurrence> &rows)
	{
		told_.insert(told_.end(), rows.begin(), rows.end());
		decided_until_ = rows.back().until;
		first_ = next(decided_until_);
	}

	// Was each time up to decided_until() told once, and nothing else?
	void check_told() const
	{
		const std::vector<Instant> all = times(begun_, decided_until_);
		auto time = all.begin();
		for (const Occurrence &row : told_) {
			ASSERT_TRUE(time != all.end() && *time == row.due) << row;
			const auto last = std::find_if(time, all.end(), [&](Instant t) { return t >= row.until; });
			ASSERT_TRUE(last != all.end() && *last == row.until) << row;
			ASSERT_TRUE(time == last || row.fate == Occurrence::Fate::missed) << row;
			time = last + 1;
		}
		ASSERT_TRUE(time == all.end()) << id_ << ": not told: " << text_of(*time);
	}

private:
	bool is_late(Instant time, Instant now) const { return now - time > timing_.grace; }
	bool may_run(Instant time, Instant now) const { return now - time <= timing_.window; }

	Occurrence row(Instant due, Instant until, Occurrence::Fate fate) const { return {id_, due, until, due, fate}; }

	std::optional<Instant> next(Instant after) const
	{
		auto time = timing_.schedule.next(after, *timing_.zone);
		while (time && timing_.starts_at && *time < *timing_.starts_at)
			time = timing_.schedule.next(*time, *timing_.zone);
		if (time && timing_.ends_at && !(*time < *timing_.ends_at))
			return std::nullopt;
		return time;
	}

	// Of those that may: how many do.
	std::size_t runs(std::size_t possible) const
	{
		if (timing_.misfire == Misfire::skip)
			return 0;
		const std::size_t most = timing_.misfire == Misfire::once ? 1 : static_cast<std::size_t>(timing_.most_runs);
		return std::min(most, possible);
	}

	std::vector<Occurrence> judge_late(const std::vector<Instant> &late, Instant now) const
	{
		const auto possible = std::count_if(late.begin(), late.end(), [&](Instant t) { return may_run(t, now); });
		const std::size_t missed = late.size() - runs(static_cast<std::size_t>(possible));
		const std::size_t together = missed > 50 ? missed - 50 : 0;
		std::vector<Occurrence> rows;
		if (together > 0)
			rows.push_back(row(late.front(), late[together - 1], Occurrence::Fate::missed));
		for (std::size_t i = together; i < late.size(); i++)
			rows.push_back(row(late[i], late[i], i < missed ? Occurrence::Fate::missed : Occurrence::Fate::run));
		return rows;
	}

	JobId id_;
	Timing timing_;
	Instant begun_, decided_until_;
	std::optional<Instant> first_;
	std::vector<Occurrence> told_; // of this timing
};

} // namespace pgbraid::core::job
