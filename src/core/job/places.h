// Which of the runs that wait get a place, where there are limits on how many may be active at once.
#pragma once
#include "core/job/timetable.h"

#include <unordered_map>
#include <vector>

namespace pgbraid::core::job {

struct Places {
	// How many may be active at once (0: any number), and how many are.
	struct Share {
		int limit = 0, active = 0;
		bool has_room() const noexcept { return limit == 0 || active < limit; }
	};

	Share total = {};
	std::unordered_map<int, Share> groups = {}; // one that is not here has no limit
	std::unordered_map<JobId, Share> jobs = {}; // the same

	// Takes a place in all three, if each has one. `group` -1: none.
	bool take(JobId job, int group);
};

struct Waiting {
	std::int64_t run;
	JobId job;
	int group; // -1: none
	int priority;
	Instant run_at;
};

// The runs that get a place now, in that order: by priority, the highest first, then the earliest, then by id. One
// whose job or group is full keeps its turn and holds up none of those behind it.
std::vector<std::int64_t> fill_places(std::vector<Waiting> waiting, Places places);

} // namespace pgbraid::core::job
