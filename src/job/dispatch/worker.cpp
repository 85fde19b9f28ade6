// One per database with jobs that applications execute without asking: offers their runs over NATS, takes the answers,
// and calls webhooks. Whoever executes a run, what is true of it is its row: the scheduler ends what is overdue there,
// and all that is remembered here can be lost.
#include "job/dispatch/offers.h"
#include "job/dispatch/webhooks.h"
#include "pg/transaction.h"
#include "pg/wait.h"
#include "worker/commit.h"
#include "worker/process.h"

extern "C" {
#include "miscadmin.h"
#include "utils/guc.h"
}

#include <cerrno>
#include <sys/eventfd.h>
#include <system_error>

namespace pgbraid::job {

namespace {

using worker::self;

constexpr Moment sweep_interval = 5'000'000; // for what nobody has told us of
constexpr Moment tell_interval = 250'000;	 // of deadlines, to the scheduler
constexpr Moment try_again = 1'000'000;
constexpr Moment never = PG_INT64_MAX;

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
	void stop() noexcept { offers_.stop(); }

private:
	void pass();
	void follow_changes();
	void withdraw();
	void tell_scheduler();
	void show_trouble();
	bool check(const std::optional<pg::Caught> &trouble);
	long patience() const;

	int event_fd_ = make_eventfd();
	Offers offers_{event_fd_};
	Webhooks webhooks_;
	uint32 touched_ = 0, nudged_ = 0; // what was seen of the counters of our entry
	unsigned settings_generation_ = 0;
	bool is_new_ = true, is_nudged_ = true, has_failed_ = false;
	bool shall_withdraw_ = true;
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

void Dispatcher::follow_changes()
{
	uint32 touched = pg_atomic_read_u32(&self().touched), nudged = pg_atomic_read_u32(&self().nudged);
	is_nudged_ = is_new_ || nudged != nudged_;
	nudged_ = nudged;
	bool is_other = is_new_ || touched != touched_ || Routes::servers_changed() || clock() >= next_reading_ ||
					settings_generation_ != pg::configuration_generation();
	is_new_ = false;
	touched_ = touched;
	if (is_other) {
		next_reading_ = never;
		settings_generation_ = pg::configuration_generation();
		shall_withdraw_ = true;
	}
	next_reading_ = has_failed_ ? Min(next_reading_, clock() + try_again) : never; // servers may be others by then
	offers_.follow(is_other);
}

// Runs that were cancelled, timed out or were taken from who has them.
void Dispatcher::withdraw()
{
	Moment now = clock();
	if (!shall_withdraw_ && now < next_sweep_)
		return;
	next_sweep_ = now + sweep_interval;
	if (check(webhooks_.withdraw()) && check(offers_.withdraw()))
		shall_withdraw_ = false;
}

// Which costs it some work, so not of each.
void Dispatcher::tell_scheduler()
{
	bool has_given = offers_.take_news(), has_sent = webhooks_.take_news();
	has_to_tell_ = has_to_tell_ || has_given || has_sent;
	if (!has_to_tell_ || clock() < next_telling_)
		return;
	has_to_tell_ = false;
	next_telling_ = clock() + tell_interval;
	worker::nudge_scheduler(MyDatabaseId);
}

// It is shown by pgbraid.stat_worker until all goes well again.
void Dispatcher::show_trouble()
{
	if (auto trouble = offers_.trouble(); trouble && !failure_)
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
	offers_.take_answers();
	withdraw();
	check(offers_.offer(is_nudged_));
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
	if (offers_.is_behind() || webhooks_.is_behind() || pg_atomic_read_u32(&self().touched) != touched_ ||
		pg_atomic_read_u32(&self().nudged) != nudged_ || Routes::servers_changed())
		return 0;
	long least = -1;
	auto at_most = [&](long ms) { least = least < 0 ? ms : Min(least, ms); };
	Moment now = clock();
	auto until = [now](Moment then) { return (long) ((Max(then - now, 0) + 999) / 1000); };
	if (auto next = offers_.next_lapse())
		at_most(until(*next));
	if (offers_.has_given_away() || webhooks_.has_calls())
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
	offers_.begin();
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
