// What becomes of times that have come, of jobs whose earlier runs have not ended.
//
// A job has so many places as its option `concurrency` says. A run that has not ended has a place, or will have the
// next one that is free, or waits behind those: it is all the same whether the places were given already, so that what
// becomes of a time does not depend on how many are decided upon at once.
#pragma once
#include "core/job/timetable.h"

#include <cstdint>
#include <optional>
#include <set>
#include <span>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace pgbraid::core::job {

// What becomes of a run when there is no place for it.
enum class Overlap : std::uint8_t {
	allow,	   // it comes to be, and waits
	skip,	   // it is left out
	queue_one, // it waits, if no other one does
	queue_all, // it waits, if less than `most_waiting` do
	replace,   // it takes the place of the others, which are cancelled
};
std::optional<Overlap> overlap_of(std::string_view name);

struct Rule {
	Overlap overlap = Overlap::allow;
	int concurrency = 0; // places; 0: with Overlap::allow any number, else one
	int most_waiting = 0;
};

// Runs of a job that have not ended.
struct Load {
	int active = 0;	   // have a place
	int waiting = 0;   // for their time, or for a place
	int executing = 0; // are active, and stay so for a while when they are cancelled; others end at once
};

enum class Admission : std::uint8_t { run, skip, replace };
Admission admit(const Rule &rule, const Load &load) noexcept;

enum class Verdict : std::uint8_t {
	runs,	   // when its time has come and there is a place
	skipped,   // others are in its way
	missed,	   // the timetable says so
	cancelled, // a later one that is judged with it took its place
};

struct Verdicts {
	std::vector<Verdict> each;
	std::set<JobId> replaced; // of these, what has not ended is to be cancelled before the new runs come to be
};

// Of what Timetable::take_due() gave, in that order. A job that `loads` doesn't have has nothing that has not ended.
Verdicts judge(std::span<const Occurrence> due, const std::unordered_map<JobId, Rule> &rules,
			   std::unordered_map<JobId, Load> loads);

} // namespace pgbraid::core::job
