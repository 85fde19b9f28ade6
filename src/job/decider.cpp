#include "job/decider.h"

#include "job/server_zone.h"
#include "job/timing.h"

#include <map>

namespace pgbraid::job {

using core::job::Instant;
using core::job::Occurrence;
using core::job::Overlap;
using core::job::Verdict;

namespace {

constexpr size_t most_at_once = 250; // the first ones are executed while the next ones are written

struct Outcome {
	const char *state, *reason;
};

Outcome outcome_of(Verdict verdict)
{
	switch (verdict) {
		case Verdict::runs: break;
		case Verdict::skipped: return {"skipped", "an earlier run has not ended"};
		case Verdict::missed: return {"missed", "nobody was there in time"};
		case Verdict::cancelled: return {"cancelled", "a later run took its place"};
	}
	return {"ready", ""};
}

} // namespace

Trouble Decider::take_changes()
{
	std::set<int64> changed = stale_;
	auto trouble = pg::attempt("reading pgbraid.jobs", lock_wait, [&] {
		for (int64 id : catalog::take_job_changes())
			changed.insert(id);
		if (is_loaded_)
			for (int64 id : changed)
				read_again(id);
		else
			for (const catalog::Job &job : catalog::read_jobs())
				follow(job);
	});
	if (!trouble) {
		is_loaded_ = true;
		stale_.clear();
		return trouble;
	}
	stale_ = std::move(changed);
	return take_one_by_one();
}

// A job that can't be read is left out, and looked at again with the next pass; the others go on.
Trouble Decider::take_one_by_one()
{
	std::vector<int64> ids(stale_.begin(), stale_.end());
	if (!is_loaded_)
		if (auto trouble = pg::attempt("reading pgbraid.jobs", lock_wait, [&] { ids = catalog::read_job_ids(); }))
			return trouble;
	is_loaded_ = true;
	Trouble last;
	for (int64 id : ids) {
		auto trouble = pg::attempt("reading a job", lock_wait, [&] { read_again(id); });
		if (!trouble) {
			stale_.erase(id);
			continue;
		}
		forget(id);
		last = trouble;
	}
	return last;
}

void Decider::forget(int64 id)
{
	timetable_.remove(id);
	rules_.erase(id);
	stale_.insert(id);
}

void Decider::read_again(int64 id)
{
	timetable_.remove(id);
	rules_.erase(id);
	if (auto job = catalog::read_job(id))
		follow(*job);
	else
		catalog::delete_runs_without_job(id);
}

// A job that can't be followed says so, and is left out.
void Decider::follow(const catalog::Job &job)
{
	try {
		timetable_.set(job.id, timing_of(job), to_instant(job.decided_until));
		rules_[job.id] = rule_of(job);
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
	return trouble ? decide_one_by_one(taken, now) : trouble;
}

// One transaction for each job. What was taken of a job that fails is not decided: it is read again from the table.
Trouble Decider::decide_one_by_one(const std::vector<Occurrence> &taken, Instant now)
{
	std::map<int64, std::vector<Occurrence>> of_jobs;
	for (const Occurrence &occurrence : taken)
		of_jobs[occurrence.job].push_back(occurrence);
	Trouble last;
	for (const auto &[id, occurrences] : of_jobs) {
		auto trouble = pg::attempt("deciding what is due", lock_wait, [&] { write(occurrences, now); });
		if (!trouble)
			continue;
		forget(id);
		last = trouble;
	}
	return last;
}

std::unordered_map<core::job::JobId, core::job::Load> Decider::loads_of(const std::vector<Occurrence> &taken) const
{
	std::set<int64> wanted;
	for (const Occurrence &occurrence : taken)
		if (rules_.at(occurrence.job).overlap != Overlap::allow)
			wanted.insert(occurrence.job);
	std::unordered_map<core::job::JobId, core::job::Load> loads;
	if (!wanted.empty())
		for (const catalog::JobLoad &load : catalog::read_loads(std::vector<int64>(wanted.begin(), wanted.end())))
			loads[load.job] = {load.active, load.waiting, load.executing};
	return loads;
}

void Decider::write(const std::vector<Occurrence> &taken, Instant now)
{
	const core::job::Verdicts verdicts = core::job::judge(taken, rules_, loads_of(taken));
	for (int64 job : verdicts.replaced)
		catalog::replace_runs(job);
	catalog::Decisions decisions;
	std::vector<TimestampTz> decided_until;
	for (size_t i = 0; i < taken.size(); i++) {
		const Occurrence &occurrence = taken[i];
		const Outcome outcome = outcome_of(verdicts.each[i]);
		decisions.jobs.push_back(occurrence.job);
		decisions.due.push_back(to_timestamp(occurrence.due));
		decisions.until.push_back(to_timestamp(occurrence.until));
		decisions.start.push_back(to_timestamp(occurrence.start));
		decisions.states.push_back(outcome.state);
		decisions.reasons.push_back(outcome.reason);
		decided_until.push_back(to_timestamp(timetable_.decided_until(occurrence.job)));
	}
	catalog::add_runs(decisions, to_timestamp(now));
	catalog::advance_jobs(decisions.jobs, decided_until);
}

} // namespace pgbraid::job
