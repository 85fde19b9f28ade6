#include "job/promotion.h"

#include "catalog/jobs.h"
#include "core/job/places.h"
#include "job/server_zone.h"
#include "settings/settings.h"

namespace pgbraid::job {

namespace {

using core::job::Places;

class Groups {
public:
	int number_of(const std::string &name)
	{
		return name.empty() ? -1 : numbers_.try_emplace(name, (int) numbers_.size()).first->second;
	}

private:
	std::unordered_map<std::string, int> numbers_;
};

Places places_for(const std::vector<catalog::WaitingRun> &waiting, Groups &groups)
{
	Places places;
	places.total.limit = settings::job_concurrency();
	for (const catalog::WaitingRun &run : waiting) {
		if (run.concurrency > 0)
			places.jobs[run.job].limit = run.concurrency;
		if (run.group_concurrency > 0)
			places.groups[groups.number_of(run.group)].limit = run.group_concurrency;
	}
	for (const catalog::ActiveRuns &active : catalog::read_active()) {
		places.total.active += active.count;
		if (auto job = places.jobs.find(active.job); job != places.jobs.end())
			job->second.active += active.count;
		if (auto group = places.groups.find(groups.number_of(active.group)); group != places.groups.end())
			group->second.active += active.count;
	}
	return places;
}

} // namespace

Promotion promote_waiting(TimestampTz now)
{
	auto runs = catalog::read_waiting(now);
	if (runs.empty())
		return {0, 0};
	Groups groups;
	Places places = places_for(runs, groups);
	std::vector<core::job::Waiting> waiting;
	for (const catalog::WaitingRun &run : runs)
		waiting.push_back({run.id, run.job, groups.number_of(run.group), run.priority, to_instant(run.run_at)});
	auto chosen = core::job::fill_places(std::move(waiting), std::move(places));
	if (chosen.empty())
		return {0, 0};
	return {chosen.size(), catalog::make_ready(std::vector<int64>(chosen.begin(), chosen.end()))};
}

} // namespace pgbraid::job
