#include "core/job/offer_book.h"

#include <algorithm>

namespace pgbraid::core {
namespace {

constexpr OfferBook::Moment most_patience = 10'000'000;

// The first time again at once; then twice as long each time.
OfferBook::Moment stretched(OfferBook::Moment patience, unsigned unanswered)
{
	if (unanswered < 2)
		return patience;
	return std::min(patience << std::min(unanswered - 1, 20u), std::max(patience, most_patience));
}

} // namespace

std::size_t OfferBook::lively_size() const
{
	return static_cast<std::size_t>(std::count_if(offers_.begin(), offers_.end(), [this](const auto &each) {
		auto standing = jobs_.find(each.second.job);
		return standing == jobs_.end() || standing->second.unanswered == 0;
	}));
}

void OfferBook::add(std::int64_t run, std::int64_t job, Moment now, Moment patience)
{
	offers_[run] = {job, now, now + stretched(patience, jobs_[job].unanswered)};
}

void OfferBook::picked(std::int64_t run, std::int64_t job, Moment now)
{
	offers_.erase(run);
	saw_life(job, now);
}

void OfferBook::saw_life(std::int64_t job, Moment now)
{
	jobs_[job] = {now, 0};
}

void OfferBook::lapse(Moment now)
{
	std::set<std::int64_t> silent;
	for (auto each = offers_.begin(); each != offers_.end();) {
		auto &offer = each->second;
		if (offer.until > now) {
			++each;
			continue;
		}
		if (jobs_[offer.job].last_life < offer.made)
			silent.insert(offer.job);
		each = offers_.erase(each);
	}
	for (auto job : silent)
		jobs_[job].unanswered++;
}

std::optional<OfferBook::Moment> OfferBook::next() const
{
	std::optional<Moment> next;
	for (auto &[run, offer] : offers_)
		next = std::min(next.value_or(offer.until), offer.until);
	return next;
}

std::vector<std::int64_t> OfferBook::runs() const
{
	std::vector<std::int64_t> runs;
	for (auto &[run, offer] : offers_)
		runs.push_back(run);
	return runs;
}

std::vector<std::int64_t> OfferBook::quiet_jobs() const
{
	std::vector<std::int64_t> quiet;
	for (auto &[job, standing] : jobs_)
		if (standing.unanswered > 0)
			quiet.push_back(job);
	return quiet;
}

std::vector<std::int64_t> OfferBook::idle_quiet() const
{
	std::set<std::int64_t> busy;
	for (auto &[run, offer] : offers_)
		busy.insert(offer.job);
	auto idle = quiet_jobs();
	std::erase_if(idle, [&](std::int64_t job) { return busy.contains(job); });
	return idle;
}

void OfferBook::forget(std::int64_t job)
{
	jobs_.erase(job);
	std::erase_if(offers_, [job](const auto &each) { return each.second.job == job; });
}

} // namespace pgbraid::core
