#include "job/decider.h"

#include "job/server_zone.h"
#include "job/timing.h"

namespace pgbraid::job {

using core::job::Admission;
using core::job::Instant;
using core::job::Occurrence;
using core::job::Overlap;

namespace {

constexpr size_t most_at_once = 250; // the first ones are executed while the next ones are written

} // namespace

Trouble Decider::take_changes()
{
	std::set<int64> changed;
	auto trouble = pg::attempt("reading pgbraid.jobs", lock_wait, [&] {
		for (int64 id : catalog::take_job_changes())
			changed.insert(id);
		changed.insert(stale_.begin(), stale_.end());
		if (is_loaded_)
			for (int64 id : changed)
				read_again(id);
		else
			for (const catalog::Job &job : catalog::read_jobs())
				follow(job);
	});
	is_loaded_ = is_loaded_ || !trouble;
	stale_ = trouble ? std::move(changed) : std::set<int64>{};
	return trouble;
}

void Decider::read_again(int64 id)
{
	timetable_.remove(id);
	rules_.erase(id);
	if (auto job = catalog::read_job(id))
		follow(*job);
}

// A job that can't be followed says so, and is left out.
void Decider::follow(const catalog::Job &job)
{
	try {
		timetable_.set(job.id, timing_of(job), to_instant(job.decided_until));
		rules_[job.id] = {overlap_of(job), job.queue_limit};
	} catch (const pg::Failure &failure) {
		catalog::note_on_job(job.id, failure.what());
	}
}

Trouble Decider::decide(Instant now, bool &more)
{
	auto taken = timetable_.take_due(now, most_at_once);
	more = taken.size() >= most_at_once;
	if (taken.empty())
		return std::nullopt;
	auto trouble = pg::attempt("deciding what is due", lock_wait, [&] { write(taken, now); });
	if (trouble)
		for (const Occurrence &occurrence : taken)
			stale_.insert(occurrence.job);
	return trouble;
}

std::unordered_map<int64, catalog::JobLoad> Decider::loads_of(const std::vector<Occurrence> &taken) const
{
	std::set<int64> wanted;
	for (const Occurrence &occurrence : taken)
		if (rules_.at(occurrence.job).overlap != Overlap::allow)
			wanted.insert(occurrence.job);
	std::unordered_map<int64, catalog::JobLoad> loads;
	if (!wanted.empty())
		for (const catalog::JobLoad &load : catalog::read_loads(std::vector<int64>(wanted.begin(), wanted.end())))
			loads.emplace(load.job, load);
	return loads;
}

// The state of its row. What starts or waits counts for the next one.
const char *Decider::admit(const Occurrence &occurrence, catalog::JobLoad &load)
{
	const Rule &rule = rules_.at(occurrence.job);
	bool has_room = load.active < Max(load.concurrency, 1);
	Admission admission = core::job::admit(rule.overlap, {has_room ? 0 : load.active, load.waiting}, rule.queue_limit);
	if (admission == Admission::skip)
		return "skipped";
	if (admission == Admission::replace) {
		catalog::replace_runs(occurrence.job);
		load.waiting = 0;
	}
	(admission == Admission::start ? load.active : load.waiting)++;
	return "ready";
}

void Decider::write(const std::vector<Occurrence> &taken, Instant now)
{
	auto loads = loads_of(taken);
	catalog::Decisions decisions;
	std::vector<int64> jobs;
	std::vector<TimestampTz> decided_until;
	for (const Occurrence &occurrence : taken) {
		bool runs = occurrence.fate == Occurrence::Fate::run;
		const char *state = runs ? admit(occurrence, loads[occurrence.job]) : "missed";
		decisions.jobs.push_back(occurrence.job);
		decisions.due.push_back(to_timestamp(occurrence.due));
		decisions.until.push_back(to_timestamp(occurrence.until));
		decisions.start.push_back(to_timestamp(occurrence.start));
		decisions.states.push_back(state);
		decisions.reasons.push_back(!runs			  ? "nobody was there in time"
									: state[0] == 's' ? "an earlier run has not ended"
													  : "");
		jobs.push_back(occurrence.job);
		decided_until.push_back(to_timestamp(timetable_.decided_until(occurrence.job)));
	}
	catalog::add_runs(decisions, to_timestamp(now));
	catalog::advance_jobs(jobs, decided_until);
}

} // namespace pgbraid::job
