#include "core/job/timetable.h"

#include <algorithm>

namespace pgbraid::core::job {
namespace {

using std::chrono::microseconds;
using Fate = Occurrence::Fate;

// The generator splitmix64, whose output is a mix of its state: Steele, Lea and Flood, "Fast Splittable Pseudorandom
// Number Generators", 2014; the constants are those of https://prng.di.unimi.it/splitmix64.c.
std::uint64_t mixed(std::uint64_t state) noexcept
{
	state += 0x9e3779b97f4a7c15;
	state = (state ^ (state >> 30)) * 0xbf58476d1ce4e5b9;
	state = (state ^ (state >> 27)) * 0x94d049bb133111eb;
	return state ^ (state >> 31);
}

microseconds offset_of(JobId id, Instant due, microseconds jitter) noexcept
{
	if (jitter <= microseconds{0})
		return microseconds{0};
	const auto time = static_cast<std::uint64_t>(due.time_since_epoch().count());
	const std::uint64_t mix = mixed(mixed(static_cast<std::uint64_t>(id)) ^ time);
	return microseconds{static_cast<std::int64_t>(mix % static_cast<std::uint64_t>(jitter.count()))};
}

Occurrence occurrence(JobId id, const Timing &timing, Instant due, Fate fate)
{
	return {id, due, due, due + offset_of(id, due, timing.jitter), fate};
}

std::optional<Instant> next_time(const Timing &timing, Instant after)
{
	if (timing.starts_at)
		after = std::max(after, *timing.starts_at - microseconds{1});
	const auto next = timing.schedule.next(after, *timing.zone);
	return next && timing.ends_at && *next >= *timing.ends_at ? std::nullopt : next;
}

std::optional<Instant> previous_time(const Timing &timing, Instant before, Instant first)
{
	if (before <= first)
		return std::nullopt;
	const auto previous = timing.schedule.previous(before, *timing.zone);
	return previous && *previous < first ? std::nullopt : previous;
}

int most_late_runs(const Timing &timing)
{
	switch (timing.misfire) {
		case Misfire::skip: return 0;
		case Misfire::once: return 1;
		case Misfire::all: break;
	}
	return timing.most_runs;
}

// Tells what is late, from `first` on: from the latest one back, since there may be very many. Returns the latest.
Instant take_late(JobId id, const Timing &timing, Instant first, Instant now, std::vector<Occurrence> &taken)
{
	const Instant end = timing.ends_at ? std::min(*timing.ends_at, now - timing.grace) : now - timing.grace;
	const Instant latest = previous_time(timing, end, first).value_or(first);
	int runs = most_late_runs(timing), singly = Timetable::told_singly;
	for (std::optional<Instant> due = latest; due; due = previous_time(timing, *due, first)) {
		if (runs > 0 && now - *due <= timing.window) {
			taken.push_back(occurrence(id, timing, *due, Fate::run));
			runs--;
		} else if (singly > 0) {
			taken.push_back(occurrence(id, timing, *due, Fate::missed));
			singly--;
		} else {
			taken.push_back(occurrence(id, timing, first, Fate::missed));
			taken.back().until = *due;
			break;
		}
	}
	return latest;
}

} // namespace

std::optional<Misfire> misfire_of(std::string_view name)
{
	if (name == "skip")
		return Misfire::skip;
	if (name == "once")
		return Misfire::once;
	return name == "all" ? std::optional{Misfire::all} : std::nullopt;
}

void Timetable::set(JobId id, Timing timing, Instant decided_until)
{
	if (auto known = jobs_.find(id); known != jobs_.end())
		decided_until = std::max(decided_until, known->second.decided_until);
	remove(id);
	await_next(id, jobs_.emplace(id, Job{std::move(timing), decided_until, std::nullopt}).first->second);
}

void Timetable::remove(JobId id)
{
	const auto job = jobs_.find(id);
	if (job == jobs_.end())
		return;
	if (job->second.next)
		wakes_.erase({*job->second.next, id});
	jobs_.erase(job);
}

std::optional<Instant> Timetable::next_wake() const
{
	return wakes_.empty() ? std::nullopt : std::optional{wakes_.begin()->first};
}

std::vector<Occurrence> Timetable::take_due(Instant now, std::size_t most)
{
	std::vector<Occurrence> taken;
	while (taken.size() < most && !wakes_.empty() && wakes_.begin()->first <= now) {
		const auto [due, id] = *wakes_.begin();
		Job &job = jobs_.at(id);
		wakes_.erase(wakes_.begin());
		if (now - due > job.timing.grace) {
			job.decided_until = take_late(id, job.timing, due, now, taken);
		} else {
			taken.push_back(occurrence(id, job.timing, due, Fate::run));
			job.decided_until = due;
		}
		await_next(id, job);
	}
	std::sort(taken.begin(), taken.end(), [](const Occurrence &a, const Occurrence &b) {
		return std::pair{a.due, a.job} < std::pair{b.due, b.job};
	});
	return taken;
}

Instant Timetable::decided_until(JobId id) const
{
	return jobs_.at(id).decided_until;
}

void Timetable::await_next(JobId id, Job &job)
{
	job.next = next_time(job.timing, job.decided_until);
	if (job.next)
		wakes_.emplace(*job.next, id);
}

} // namespace pgbraid::core::job
