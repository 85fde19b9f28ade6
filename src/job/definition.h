// From the words of a job's row to the values that core/job decides with.
#pragma once
#include "core/job/schedule.h"

#include <string>

namespace pgbraid::job {

// As the options of a job say it; "" stands for the default.
struct PolicyWords {
	std::string day_match, dst_gap, dst_overlap;
};

// pg::Failure for text that is no schedule. `anchor`: what "@every" counts from.
core::job::Schedule make_schedule(const std::string &text, const PolicyWords &words, core::job::Instant anchor);

} // namespace pgbraid::job
