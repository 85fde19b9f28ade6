// What a flow tells of itself: its entry in the registry, and the server's log.
#pragma once
#include "flow/source/decoder.h"
#include "nats/publisher.h"

#include <deque>
#include <string>

namespace pgbraid::flow {

class Report {
public:
	explicit Report(std::string flow) : flow_(std::move(flow)) {}

	void publishing(const nats::Publisher::Progress &progress);
	void decoding(const Decoder::Counters &now, core::Lsn committed);

	// All up to `safe` is stored: for stat_flow.lag and for who waits.
	void stored(core::Lsn safe);

	// NATS takes what it is sent.
	bool is_healthy() const noexcept { return is_healthy_; }

private:
	void trouble(const nats::Publisher::Progress &progress);
	void note_lag(core::Lsn safe);

	struct Commit {
		core::Lsn lsn;
		TimestampTz time;
	};
	std::string flow_;
	std::deque<Commit> unstored_commits_; // some of them
	Decoder::Counters decoded_;
	uint64_t errors_ = 0, retries_ = 0, published_ = 0;
	bool is_healthy_ = false;
};

} // namespace pgbraid::flow
