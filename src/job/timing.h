// From the row of a job to the values that core/job decides with.
#pragma once
#include "catalog/jobs.h"
#include "core/job/admission.h"
#include "core/job/timetable.h"

namespace pgbraid::job {

// pg::Failure for a schedule or a zone that is none.
core::job::Timing timing_of(const catalog::Job &job);

core::job::Rule rule_of(const catalog::Job &job);

} // namespace pgbraid::job
