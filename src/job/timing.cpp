#include "job/timing.h"

#include "job/definition.h"
#include "job/server_zone.h"

namespace pgbraid::job {

namespace {

std::optional<core::job::Instant> instant_or_none(TimestampTz time)
{
	return time == 0 ? std::nullopt : std::optional{to_instant(time)};
}

} // namespace

core::job::Timing timing_of(const catalog::Job &job)
{
	using std::chrono::microseconds;
	core::job::Timing timing{.schedule = make_schedule(job.schedule, {job.day_match, job.dst_gap, job.dst_overlap},
													   to_instant(job.created_at)),
							 .zone = &zone_of(job.time_zone)};
	timing.misfire = core::job::misfire_of(job.misfire).value_or(timing.misfire);
	if (job.grace >= 0)
		timing.grace = microseconds{job.grace};
	if (job.window >= 0)
		timing.window = microseconds{job.window};
	timing.most_runs = job.most_late;
	timing.jitter = microseconds{job.jitter};
	timing.starts_at = instant_or_none(job.starts_at);
	timing.ends_at = instant_or_none(job.ends_at);
	return timing;
}

core::job::Rule rule_of(const catalog::Job &job)
{
	return {core::job::overlap_of(job.overlap).value_or(core::job::Overlap::allow), job.concurrency, job.queue_limit};
}

} // namespace pgbraid::job
