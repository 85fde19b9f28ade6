// Follows the schedules of the jobs, and makes each of their times a row of pgbraid.job_runs.
#pragma once
#include "catalog/jobs.h"
#include "core/job/admission.h"
#include "core/job/timetable.h"
#include "pg/transaction.h"

#include <optional>
#include <set>
#include <unordered_map>

namespace pgbraid::job {

// How long a transaction of the scheduler waits for a lock: while it waits, all jobs are late.
constexpr const char *lock_wait = "200ms";

// What comes back where a transaction failed; it has been undone, and the next call tries again.
using Trouble = std::optional<pg::Caught>;

class Decider {
public:
	// Reads all jobs, the first time, and those that have changed.
	Trouble take_changes();
	// The rows of what is due. A part of it, where there is much: `more` says that there is.
	Trouble decide(core::job::Instant now, bool &more);

	bool has_stale_jobs() const noexcept { return !is_loaded_ || !stale_.empty(); }
	std::optional<core::job::Instant> next_wake() const { return timetable_.next_wake(); }
	bool is_due(core::job::Instant now) const { return next_wake() && *next_wake() <= now; }
	size_t size() const noexcept { return timetable_.size(); }

private:
	void follow(const catalog::Job &job);
	void read_again(int64 id);
	void forget(int64 id);
	Trouble take_one_by_one();
	Trouble decide_one_by_one(const std::vector<core::job::Occurrence> &taken, core::job::Instant now);
	void write(const std::vector<core::job::Occurrence> &taken, core::job::Instant now);
	std::unordered_map<core::job::JobId, core::job::Load>
	loads_of(const std::vector<core::job::Occurrence> &taken) const;

	bool is_loaded_ = false;
	core::job::Timetable timetable_;
	std::unordered_map<core::job::JobId, core::job::Rule> rules_;
	std::set<int64> stale_; // what the timetable says of them is not what was stored
};

} // namespace pgbraid::job
