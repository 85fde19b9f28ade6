#include "core/job/admission.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace pgbraid::core::job {
std::optional<Overlap> overlap_of(std::string_view name)
{
	constexpr std::string_view names[] = {"allow", "skip", "queue_one", "queue_all", "replace"};
	const auto found = std::find(std::begin(names), std::end(names), name);
	return found == std::end(names) ? std::nullopt : std::optional{static_cast<Overlap>(found - std::begin(names))};
}

Admission admit(const Rule &rule, const Load &load) noexcept
{
	const int places = std::max(rule.concurrency, 1), unused = std::max(places - load.active, 0);
	if (rule.overlap == Overlap::allow || load.waiting < unused)
		return Admission::run;
	const int behind = load.waiting - unused; // those that wait until others have ended
	switch (rule.overlap) {
		case Overlap::queue_one: return behind == 0 ? Admission::run : Admission::skip;
		case Overlap::queue_all: return behind < rule.most_waiting ? Admission::run : Admission::skip;
		case Overlap::replace: return Admission::replace;
		case Overlap::allow:
		case Overlap::skip: break;
	}
	return Admission::skip;
}

Verdicts judge(std::span<const Occurrence> due, const std::unordered_map<JobId, Rule> &rules,
			   std::unordered_map<JobId, Load> loads)
{
	Verdicts verdicts{std::vector(due.size(), Verdict::missed), {}};
	std::unordered_map<JobId, std::vector<std::size_t>> coming; // those of `due` that run
	for (std::size_t i = 0; i < due.size(); i++) {
		if (due[i].fate == Occurrence::Fate::missed)
			continue;
		const JobId job = due[i].job;
		Load &load = loads[job];
		const Admission admission = admit(rules.at(job), load);
		if (admission == Admission::replace) {
			verdicts.replaced.insert(job);
			for (const std::size_t earlier : std::exchange(coming[job], {}))
				verdicts.each[earlier] = Verdict::cancelled;
			load = {load.executing, 0, load.executing};
		}
		verdicts.each[i] = admission == Admission::skip ? Verdict::skipped : Verdict::runs;
		if (admission == Admission::skip)
			continue;
		coming[job].push_back(i);
		load.waiting++;
	}
	return verdicts;
}

} // namespace pgbraid::core::job
