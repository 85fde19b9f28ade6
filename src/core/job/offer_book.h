// Which runs are on offer to applications, until when, and which jobs nobody seems to listen to. Those get one offer at
// a time, ever more rarely, until somebody picks one: their runs shall not keep those of other jobs waiting.
//
//            offers lapse, and no sign of life since they were made
//   lively ----------------------------------------------------------> quiet: one offer at a time
//      ^                                                                 |
//      +-----------------------------------------------------------------+  a run is picked, or ends
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <vector>

namespace pgbraid::core {

class OfferBook {
public:
	using Moment = std::int64_t; // microseconds, of any clock

	// `patience` is that of the job; a quiet one has more.
	void add(std::int64_t run, std::int64_t job, Moment now, Moment patience);
	bool has(std::int64_t run) const { return offers_.contains(run); }
	std::size_t size() const { return offers_.size(); }
	std::size_t lively_size() const; // without those of quiet jobs, which must not take the place of others

	// The job's workers live: one has picked a run, or is done with one.
	void picked(std::int64_t run, std::int64_t job, Moment now);
	void saw_life(std::int64_t job, Moment now);

	// Ends the offers that nobody has taken up in time.
	void lapse(Moment now);
	// When that is to be done next.
	std::optional<Moment> next() const;

	std::vector<std::int64_t> runs() const;		  // that are on offer
	std::vector<std::int64_t> quiet_jobs() const; // that get one offer at a time
	std::vector<std::int64_t> idle_quiet() const; // of these, those that have none
	void forget(std::int64_t job);				  // as if it had never been offered

private:
	struct Offer {
		std::int64_t job;
		Moment made, until;
	};
	struct Standing {
		Moment last_life = INT64_MIN;
		unsigned unanswered = 0; // rounds of offers in a row
	};
	std::map<std::int64_t, Offer> offers_; // by run
	std::map<std::int64_t, Standing> jobs_;
};

} // namespace pgbraid::core
