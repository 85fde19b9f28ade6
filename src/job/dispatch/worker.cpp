// One per database with jobs that applications execute without asking: offers their runs over NATS, takes the answers,
// and calls webhooks. Whoever executes a run, what is true of it is its row: the scheduler ends what is overdue there,
// and all that is remembered here can be lost.
#include "catalog/dispatch.h"
#include "core/job/offer_book.h"
#include "job/dispatch/answers.h"
#include "job/dispatch/routes.h"
#include "job/dispatch/webhooks.h"
#include "pg/encoding.h"
#include "pg/transaction.h"
#include "pg/wait.h"
#include "settings/settings.h"
#include "worker/commit.h"
#include "worker/process.h"

extern "C" {
#include "miscadmin.h"
#include "utils/guc.h"
}

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <sys/eventfd.h>
#include <system_error>

namespace pgbraid::job {

namespace {

using worker::self;
using Moment = core::OfferBook::Moment;

constexpr size_t most_messages = 500;		 // in one transaction
constexpr int64 most_offers = 500;			 // in one statement
constexpr Moment sweep_interval = 5'000'000; // for what nobody has told us of
constexpr Moment tell_interval = 250'000;	 // of deadlines, to the scheduler
constexpr Moment try_again = 1'000'000;
constexpr Moment never = PG_INT64_MAX;

Moment clock()
{
	return std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now().time_since_epoch())
		.count();
}

int make_eventfd()
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (fd < 0)
		throw std::system_error(errno, std::generic_category(), "eventfd");
	return fd;
}

class Dispatcher {
public:
	void run();
	void stop() noexcept { routes_.stop(); }

private:
	struct Given { // a run that an application has picked
		int64 job;
		pg_uuid_t token;
	};

	void begin();
	void pass();
	void follow_changes();
	void take_answers();
	void note(const catalog::Answered &answered);
	void withdraw();
	void tell_of_end(int64 run, const Given &given);
	void offer();
	std::vector<catalog::OfferedRun> next_offers();
	void send(std::vector<catalog::OfferedRun> runs);
	void refuse_large(const std::vector<int64> &runs, size_t limit);
	void tell_scheduler();
	void show_trouble();
	bool check(const std::optional<pg::Caught> &trouble);
	long patience() const;

	int event_fd_ = make_eventfd();
	Routes routes_{event_fd_};
	Webhooks webhooks_;
	core::OfferBook book_;
	std::map<int64, Given> given_;
	uint32 touched_ = 0, nudged_ = 0; // what was seen of the counters of our entry
	unsigned settings_generation_ = 0;
	bool is_new_ = true, is_nudged_ = true, has_failed_ = false;
	bool may_have_more_ = true; // runs to offer
	bool has_lapsed_ = false;	// an offer, in this pass
	bool shall_withdraw_ = true;
	bool is_behind_ = false; // messages wait
	Moment next_sweep_ = 0, next_telling_ = 0, next_reading_ = never;
	bool has_to_tell_ = false;			// the scheduler of runs with a deadline
	std::optional<pg::Caught> failure_; // of this pass
	std::string shown_;					// trouble
};

bool Dispatcher::check(const std::optional<pg::Caught> &trouble)
{
	if (trouble)
		failure_ = trouble;
	return !trouble;
}

// Those that were given away by a dispatcher before this one.
void Dispatcher::begin()
{
	pg::in_transaction("looking for runs that are executed", [this] {
		for (const auto &run : catalog::read_held_runs())
			given_[run.id] = {run.job, run.token};
	});
}

void Dispatcher::follow_changes()
{
	uint32 touched = pg_atomic_read_u32(&self().touched), nudged = pg_atomic_read_u32(&self().nudged);
	is_nudged_ = is_new_ || nudged != nudged_;
	nudged_ = nudged;
	may_have_more_ = may_have_more_ || is_nudged_;
	if (is_new_ || touched != touched_ || Routes::servers_changed() || clock() >= next_reading_ ||
		settings_generation_ != pg::configuration_generation()) {
		next_reading_ = never;
		touched_ = touched;
		settings_generation_ = pg::configuration_generation();
		routes_.read();
		shall_withdraw_ = may_have_more_ = true;
	}
	next_reading_ = has_failed_ ? Min(next_reading_, clock() + try_again) : never; // servers may be others by then
	is_new_ = false;
	routes_.look([this](int64 job) {
		book_.forget(job);
		may_have_more_ = true;
	});
}

void Dispatcher::take_answers()
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

void Dispatcher::note(const catalog::Answered &answered)
{
	if (answered.kind == "picked") {
		book_.picked(answered.run, answered.job, clock());
		given_[answered.run] = {answered.job, answered.token};
		may_have_more_ = has_to_tell_ = true;
	} else if (answered.kind == "succeeded" || answered.kind == "failed") {
		book_.saw_life(answered.job, clock());
		given_.erase(answered.run);
		may_have_more_ = true;
	}
}

// Runs that were cancelled, timed out or were taken from their workers: these need not wait for their next heartbeat to
// hear of it.
void Dispatcher::withdraw()
{
	Moment now = clock();
	if (!shall_withdraw_ && now < next_sweep_)
		return;
	next_sweep_ = now + sweep_interval;
	if (!check(webhooks_.withdraw()))
		return;
	if (!given_.empty()) {
		std::vector<int64> runs;
		for (auto &[run, given] : given_)
			runs.push_back(run);
		std::map<int64, pg_uuid_t> held;
		if (!check(pg::attempt("looking for runs that were cancelled", [&] {
				for (const auto &run : catalog::still_held(runs))
					held[run.id] = run.token;
			})))
			return;
		std::erase_if(given_, [&](const auto &each) {
			auto found = held.find(each.first);
			bool is_held = found != held.end() && memcmp(&found->second, &each.second.token, sizeof(pg_uuid_t)) == 0;
			if (!is_held)
				tell_of_end(each.first, each.second);
			return !is_held;
		});
	}
	shall_withdraw_ = false;
}

void Dispatcher::tell_of_end(int64 run, const Given &given)
{
	Way *way = routes_.of_job(given.job);
	if (way != nullptr)
		way->courier->send({{.subject = way->inbox + ".cancel",
							 .payload = "{\"type\":\"cancel\",\"run\":" + std::to_string(run) + ",\"token\":\"" +
										to_text(given.token) + "\"}"}});
}

std::vector<catalog::OfferedRun> Dispatcher::next_offers()
{
	std::vector<int64> closed = routes_.closed_jobs(), quiet = book_.idle_quiet(), but = book_.quiet_jobs();
	but.insert(but.end(), closed.begin(), closed.end());
	std::erase_if(quiet, [&](int64 job) { return std::find(closed.begin(), closed.end(), job) != closed.end(); });
	int64 room = settings::job_dispatches() - (int64) book_.lively_size(), most = Min(room, most_offers);
	// Many at a time, where there are many: what is on offer already is passed over by each search.
	bool is_due = may_have_more_ && most > 0 && (is_nudged_ || has_lapsed_ || 2 * room >= settings::job_dispatches());
	if (quiet.empty() && !is_due)
		return {};
	std::vector<catalog::OfferedRun> runs;
	bool done = check(pg::attempt("offering runs", [&] {
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
	}));
	return done ? runs : std::vector<catalog::OfferedRun>{};
}

void Dispatcher::offer()
{
	auto before = book_.size();
	book_.lapse(clock());
	has_lapsed_ = book_.size() < before;
	may_have_more_ = may_have_more_ || has_lapsed_;
	send(next_offers());
}

void Dispatcher::send(std::vector<catalog::OfferedRun> runs)
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
	if (!large.empty())
		refuse_large(large, limit);
}

void Dispatcher::refuse_large(const std::vector<int64> &runs, size_t limit)
{
	check(pg::attempt("ending runs that are too large", [&] {
		for (int64 run : runs)
			catalog::fail_ready(run, "54000",
								"its payload is larger than the NATS server takes, which is " + std::to_string(limit) +
									" bytes");
	}));
}

// Which costs it some work, so not of each.
void Dispatcher::tell_scheduler()
{
	has_to_tell_ = has_to_tell_ || webhooks_.take_news();
	if (!has_to_tell_ || clock() < next_telling_)
		return;
	has_to_tell_ = false;
	next_telling_ = clock() + tell_interval;
	worker::nudge_scheduler(MyDatabaseId);
}

// It is shown by pgbraid.stat_worker until all goes well again.
void Dispatcher::show_trouble()
{
	if (auto trouble = routes_.trouble(); trouble && !failure_)
		failure_ = trouble;
	std::string message = failure_ ? failure_->message : "";
	if (failure_ && (message != shown_ || self().trouble.happened_at == 0))
		worker::set_trouble(self(), failure_->sqlstate.c_str(), message.c_str(), failure_->hint.c_str());
	if (message == shown_)
		return;
	shown_ = message;
	if (failure_) {
		ereport(LOG, (errmsg("dispatcher of jobs: %s", message.c_str())));
	} else {
		worker::clear_trouble(self());
		worker::recovered();
	}
}

void Dispatcher::pass()
{
	failure_.reset();
	follow_changes();
	take_answers();
	withdraw();
	offer();
	check(webhooks_.give_up_earlier());
	check(webhooks_.collect());
	check(webhooks_.send(is_nudged_));
	check(webhooks_.collect());
	tell_scheduler();
	has_failed_ = failure_.has_value();
	show_trouble();
}

long Dispatcher::patience() const
{
	if (has_failed_)
		return (long) (try_again / 1000);
	if (is_behind_ || webhooks_.is_behind() || pg_atomic_read_u32(&self().touched) != touched_ ||
		pg_atomic_read_u32(&self().nudged) != nudged_ || Routes::servers_changed())
		return 0;
	long least = -1;
	auto at_most = [&](long ms) { least = least < 0 ? ms : Min(least, ms); };
	Moment now = clock();
	auto until = [now](Moment then) { return (long) ((Max(then - now, 0) + 999) / 1000); };
	if (auto next = book_.next())
		at_most(until(*next));
	if (!given_.empty() || webhooks_.has_calls())
		at_most(until(next_sweep_));
	if (has_to_tell_)
		at_most(until(next_telling_));
	if (auto timeout = webhooks_.timeout_ms())
		at_most(*timeout);
	return least;
}

void Dispatcher::run()
{
	worker::set_state(worker::State::running);
	worker::leave_timed_runs_untold();
	// A plan for the few runs that there were a moment ago would read the whole table for each of the many that came.
	pg::call([] { SetConfigOption("enable_seqscan", "off", PGC_USERSET, PGC_S_OVERRIDE); });
	begin();
	pg::Waiter waiter("PgbraidDispatcher", event_fd_, webhooks_.fd());
	while (!worker::stop_requested()) {
		pass();
		waiter.wait(patience());
	}
}

Dispatcher *dispatcher = nullptr;

// FATAL runs no destructor: the couriers' threads are stopped from here, whichever way the process leaves.
void stop_couriers()
{
	if (dispatcher != nullptr)
		dispatcher->stop();
}

void run()
{
	worker::skip_exit_handlers();
	worker::at_exit(stop_couriers);
	{
		Dispatcher running;
		dispatcher = &running;
		struct Leave {
			~Leave() { stop_couriers(), dispatcher = nullptr; }
		} leave;
		running.run();
	}
	worker::leave(worker::State::stopped);
}

} // namespace

} // namespace pgbraid::job

PGBRAID_EXPORT void pgbraid_dispatcher_main(Datum argument)
{
	pgbraid::worker::attach(argument);
	pgbraid::pg::enter(pgbraid::job::run);
}
