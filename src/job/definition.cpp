#include "job/definition.h"

#include "core/job/expression_parser.h"
#include "pg/boundary.h"

namespace pgbraid::job {

using core::job::DayRule, core::job::GapPolicy, core::job::OverlapPolicy;

namespace {

GapPolicy gap_policy(const std::string &word)
{
	if (word == "skip")
		return GapPolicy::skip;
	return word == "shift" ? GapPolicy::shift : word == "after" ? GapPolicy::after : GapPolicy::automatic;
}

OverlapPolicy overlap_policy(const std::string &word)
{
	if (word == "once")
		return OverlapPolicy::first;
	return word == "twice" ? OverlapPolicy::both : OverlapPolicy::automatic;
}

} // namespace

core::job::Schedule make_schedule(const std::string &text, const PolicyWords &words, core::job::Instant anchor)
{
	return core::job::Schedule(pg::take(core::job::parse_expression(text)),
							   {.days = words.day_match == "and" ? DayRule::both : DayRule::either,
								.gap = gap_policy(words.dst_gap),
								.overlap = overlap_policy(words.dst_overlap),
								.anchor = anchor});
}

} // namespace pgbraid::job
