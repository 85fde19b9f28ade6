// Runs that are offered to applications over NATS: offered, given to who picks them, and ended as they say. No more
// than pgbraid.job_dispatches are on offer at a time. Whoever has a run, what is true of it is its row: all that is
// remembered here can be lost.
#pragma once
#include "catalog/dispatch.h"
#include "core/job/offer_book.h"
#include "job/dispatch/moment.h"
#include "job/dispatch/routes.h"
#include "pg/transaction.h"

#include <map>
#include <optional>
#include <utility>
#include <vector>

namespace pgbraid::job {

class Offers {
public:
	// Couriers that have something to say write to `event_fd`.
	explicit Offers(int event_fd) : routes_(event_fd) {}

	// Takes over what a dispatcher before this one has given away.
	void begin();
	// Looks how the couriers are; reads jobs and servers again, where they are `others`.
	void follow(bool others);
	void take_answers();

	// Both return what went wrong; it is tried again at the next step.
	std::optional<pg::Caught> withdraw();		   // from their workers: runs that have ended otherwise
	std::optional<pg::Caught> offer(bool is_news); // what is ready, as far as there is room

	std::optional<pg::Caught> trouble() const { return routes_.trouble(); } // with servers
	std::optional<Moment> next_lapse() const { return book_.next(); }
	bool take_news() noexcept { return std::exchange(has_given_, false); } // since it was last asked, runs were picked
	bool has_given_away() const noexcept { return !given_.empty(); }
	bool is_behind() const noexcept { return is_behind_; } // answers wait
	void stop() noexcept { routes_.stop(); }

private:
	struct Given { // a run that an application has picked
		int64 job;
		pg_uuid_t token;
	};

	void note(const catalog::Answered &answered);
	void tell_of_end(int64 run, const Given &given);
	std::optional<pg::Caught> take_offers(bool is_news, std::vector<catalog::OfferedRun> &runs);
	std::optional<pg::Caught> send(std::vector<catalog::OfferedRun> runs);

	Routes routes_;
	core::OfferBook book_;
	std::map<int64, Given> given_;
	bool may_have_more_ = true; // runs to offer
	bool has_given_ = false, is_behind_ = false;
};

} // namespace pgbraid::job
