// Which times of the jobs' schedules have come, and what becomes of each: it runs, or it was missed.
//
// Each time of a schedule is decided upon once. How far a job's have been is its `decided_until`, which whoever stores
// what was taken stores with it, and hands to the timetable of the next process. It never goes back, so that nothing
// runs again when the clock is put back; and a clock that was put forward, a machine that slept and a server that was
// down are the same: times that are late.
#pragma once
#include "core/job/schedule.h"

#include <cstddef>
#include <set>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace pgbraid::core::job {

using JobId = std::int64_t;

// What becomes of the times that are late.
enum class Misfire : std::uint8_t {
	skip, // all are missed
	once, // the latest one runs, for all of them
	all,  // each runs
};
std::optional<Misfire> misfire_of(std::string_view name);

struct Timing {
	Schedule schedule;
	const Zone *zone; // outlives the timetable
	Misfire misfire = Misfire::once;
	std::chrono::microseconds grace = std::chrono::seconds{10}; // a time is late when it is longer ago than that
	std::chrono::microseconds window = std::chrono::hours{24};	// a late one that is longer ago than that never runs
	int most_runs = 100;										// of Misfire::all, in one batch: the latest ones
	std::chrono::microseconds jitter{0};
	std::optional<Instant> starts_at = {}, ends_at = {}; // starts_at <= due < ends_at
};

struct Occurrence {
	enum class Fate : std::uint8_t { run, missed };

	JobId job;
	Instant due, until; // `until` == `due`; in a row that stands for several that were missed: the first, and the last
	Instant start;		// `due` plus 0 <= offset < jitter, the same one whenever one asks
	Fate fate;
	bool operator==(const Occurrence &) const = default;
};

class Timetable {
public:
	// Of those that were missed, so many (the latest) are told one by one, and those before as one row: a second's job
	// would make 259,200 rows of a weekend.
	static constexpr int told_singly = 50;

	// Times up to and including `decided_until` are not told. Of a job that is known, the later one of it and what was
	// decided before holds; those of its old timing that are not decided yet vanish. Who changes a schedule hands over
	// the current time, else the new one's times since the last decision count as late.
	void set(JobId id, Timing timing, Instant decided_until);
	void remove(JobId id);

	// The first time of any job that is not decided upon: then, or at once if it is past, take_due() has something.
	std::optional<Instant> next_wake() const;

	// Decides upon what is due, ordered by due and job. What is late of a job is decided upon as a whole, so there may
	// be more than `most`, by Timing::most_runs and told_singly + 1. If there are `most` or more, there may be more to
	// take.
	std::vector<Occurrence> take_due(Instant now, std::size_t most);

	// Of a job that is in the table.
	Instant decided_until(JobId id) const;

	std::size_t size() const noexcept { return jobs_.size(); }

private:
	struct Job {
		Timing timing;
		Instant decided_until;
		std::optional<Instant> next; // the first time that is not decided upon
	};

	void await_next(JobId id, Job &job);

	std::unordered_map<JobId, Job> jobs_;
	std::set<std::pair<Instant, JobId>> wakes_; // the `next` of each job that has one
};

} // namespace pgbraid::core::job
