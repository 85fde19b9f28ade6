#include "core/job/places.h"

#include <algorithm>
#include <tuple>

namespace pgbraid::core::job {
namespace {

template <typename Shares, typename Key>
Places::Share *share_of(Shares &shares, Key key)
{
	const auto found = shares.find(key);
	return found == shares.end() ? nullptr : &found->second;
}

bool comes_before(const Waiting &a, const Waiting &b)
{
	return std::tie(b.priority, a.run_at, a.run) < std::tie(a.priority, b.run_at, b.run);
}

} // namespace

bool Places::take(JobId job, int group)
{
	Share *const of_group = group == -1 ? nullptr : share_of(groups, group);
	Share *const shares[] = {&total, of_group, share_of(jobs, job)};
	for (const Share *share : shares)
		if (share && !share->has_room())
			return false;
	for (Share *share : shares)
		if (share)
			share->active++;
	return true;
}

std::vector<std::int64_t> fill_places(std::vector<Waiting> waiting, Places places)
{
	std::sort(waiting.begin(), waiting.end(), comes_before);
	std::vector<std::int64_t> chosen;
	for (const Waiting &run : waiting) {
		if (!places.total.has_room())
			break;
		if (places.take(run.job, run.group))
			chosen.push_back(run.run);
	}
	return chosen;
}

} // namespace pgbraid::core::job
