#include "job/dispatch/offers.h"

#include "job/dispatch/answers.h"
#include "pg/encoding.h"
#include "settings/settings.h"

extern "C" {
#include "utils/guc.h"
}

#include <algorithm>

namespace pgbraid::job {

namespace {

constexpr size_t most_messages = 500; // in one transaction
constexpr int64 most_offers = 500;	  // in one statement

std::optional<pg::Caught> refuse_large(const std::vector<int64> &runs, size_t limit)
{
	return pg::attempt("ending runs that are too large", [&] {
		for (int64 run : runs)
			catalog::fail_ready(run, "54000",
								"its payload is larger than the NATS server takes, which is " + std::to_string(limit) +
									" bytes");
	});
}

} // namespace

void Offers::begin()
{
	pg::in_transaction("looking for runs that are executed", [this] {
		for (const auto &run : catalog::read_held_runs())
			given_[run.id] = {run.job, run.token};
	});
}

void Offers::follow(bool others)
{
	if (others) {
		routes_.read();
		may_have_more_ = true;
	}
	routes_.look([this](int64 job) {
		book_.forget(job);
		may_have_more_ = true;
	});
}

void Offers::take_answers()
{
	is_behind_ = false;
	routes_.for_each([this](Way &way) {
		auto messages = way.courier->take(most_messages);
		if (messages.empty())
			return;
		is_behind_ = is_behind_ || messages.size() == most_messages;
		auto answers = answer(messages);
		way.courier->send(std::move(answers.letters));
		way.outlived = way.condition.errors;
		for (const auto &answered : answers.done)
			note(answered);
	});
}

void Offers::note(const catalog::Answered &answered)
{
	if (answered.kind == "picked") {
		book_.picked(answered.run, answered.job, clock());
		given_[answered.run] = {answered.job, answered.token};
		may_have_more_ = has_given_ = true;
	} else if (answered.kind == "succeeded" || answered.kind == "failed") {
		book_.saw_life(answered.job, clock());
		given_.erase(answered.run);
		may_have_more_ = true;
	}
}

// These need not wait for their next heartbeat to hear that their run was cancelled, timed out or taken from them.
std::optional<pg::Caught> Offers::withdraw()
{
	if (given_.empty())
		return std::nullopt;
	std::vector<int64> runs;
	for (auto &[run, given] : given_)
		runs.push_back(run);
	std::map<int64, pg_uuid_t> held;
	if (auto trouble = pg::attempt("looking for runs that were cancelled", [&] {
			for (const auto &run : catalog::still_held(runs))
				held[run.id] = run.token;
		}))
		return trouble;
	std::erase_if(given_, [&](const auto &each) {
		auto found = held.find(each.first);
		bool is_held = found != held.end() && memcmp(&found->second, &each.second.token, sizeof(pg_uuid_t)) == 0;
		if (!is_held)
			tell_of_end(each.first, each.second);
		return !is_held;
	});
	return std::nullopt;
}

void Offers::tell_of_end(int64 run, const Given &given)
{
	Way *way = routes_.of_job(given.job);
	if (way != nullptr)
		way->courier->send({{.subject = way->inbox + ".cancel",
							 .payload = "{\"type\":\"cancel\",\"run\":" + std::to_string(run) + ",\"token\":\"" +
										to_text(given.token) + "\"}"}});
}

std::optional<pg::Caught> Offers::offer(bool is_news)
{
	auto before = book_.size();
	book_.lapse(clock());
	is_news = is_news || book_.size() < before;
	may_have_more_ = may_have_more_ || is_news;
	std::vector<catalog::OfferedRun> runs;
	if (auto trouble = take_offers(is_news, runs))
		return trouble;
	return send(std::move(runs));
}

std::optional<pg::Caught> Offers::take_offers(bool is_news, std::vector<catalog::OfferedRun> &runs)
{
	std::vector<int64> closed = routes_.closed_jobs(), quiet = book_.idle_quiet(), but = book_.quiet_jobs();
	but.insert(but.end(), closed.begin(), closed.end());
	std::erase_if(quiet, [&](int64 job) { return std::find(closed.begin(), closed.end(), job) != closed.end(); });
	int64 room = settings::job_dispatches() - (int64) book_.lively_size(), most = Min(room, most_offers);
	// Many at a time, where there are many: what is on offer already is passed over by each search.
	bool is_due = may_have_more_ && most > 0 && (is_news || 2 * room >= settings::job_dispatches());
	if (quiet.empty() && !is_due)
		return std::nullopt;
	return pg::attempt("offering runs", [&] {
		pg::call([] { // what a crash forgets was not offered
			(void) set_config_option("synchronous_commit", "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0,
									 false);
		});
		if (!quiet.empty())
			runs = catalog::offer_one_of_each(quiet);
		for (int64 job : quiet)
			if (std::none_of(runs.begin(), runs.end(), [job](const auto &run) { return run.job == job; }))
				book_.forget(job); // nothing of it is waiting
		if (is_due) {
			auto more = catalog::offer_runs(book_.runs(), but, most);
			may_have_more_ = (int64) more.size() == most;
			runs.insert(runs.end(), more.begin(), more.end());
		}
		for (auto &run : runs) {
			run.subject = pg::to_utf8(run.subject);
			run.offer = pg::to_utf8(run.offer);
		}
	});
}

std::optional<pg::Caught> Offers::send(std::vector<catalog::OfferedRun> runs)
{
	std::map<Way *, std::vector<nats::Letter>> letters;
	std::vector<int64> large;
	size_t limit = 0;
	for (auto &run : runs) {
		Way *way = routes_.of_job(run.job);
		if (way == nullptr || !way->is_open())
			continue; // a new job: we are told of it
		std::string headers = "Pgbraid-Run: " + std::to_string(run.id) + "\r\n";
		if (limit = way->condition.max_payload; run.offer.size() + headers.size() + 16 > limit) {
			large.push_back(run.id);
			continue;
		}
		book_.add(run.id, run.job, clock(), run.patience);
		letters[way].push_back({run.subject, way->inbox, std::move(headers), std::move(run.offer)});
	}
	for (auto &[way, to_send] : letters)
		way->courier->send(std::move(to_send));
	return large.empty() ? std::nullopt : refuse_large(large, limit);
}

} // namespace pgbraid::job
