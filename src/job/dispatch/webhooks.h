// Runs that are sent to web servers: taken, posted, and ended with the answer. No more than pgbraid.job_dispatches are
// under way at a time.
#pragma once
#include "catalog/dispatch.h"
#include "http/calls.h"
#include "pg/transaction.h"

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace pgbraid::job {

class Webhooks {
public:
	// Runs that a dispatcher before this one has sent are lost: nobody waits for their answers.
	Webhooks();

	// Each of these returns what went wrong; it is tried again at the next step.
	std::optional<pg::Caught> give_up_earlier();
	std::optional<pg::Caught> send(bool is_news); // what is ready, as far as there is room
	std::optional<pg::Caught> collect();		  // answers
	std::optional<pg::Caught> withdraw();		  // calls whose runs have ended meanwhile

	int fd() const noexcept { return calls_.fd(); }
	std::optional<long> timeout_ms() const; // when to collect although fd() is not readable
	bool take_news() noexcept { return std::exchange(has_sent_, false); } // since it was last asked, calls have begun
	bool has_calls() const noexcept { return calls_.size() > 0; }
	bool is_behind() const noexcept { return may_have_more_ && room() > 0; }

private:
	int64 room() const;
	void call(const catalog::WebhookRun &run);
	void note_refusal(const catalog::WebhookRun &run, const pg::Caught &why);

	http::Calls calls_;
	std::map<int64, pg_uuid_t> tokens_;			// of the runs under way
	std::vector<catalog::RunOutcome> outcomes_; // that are still to be noted
	bool may_have_more_ = true;
	bool has_given_up_ = false, has_sent_ = false;
};

} // namespace pgbraid::job
