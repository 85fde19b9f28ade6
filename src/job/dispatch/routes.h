// The ways to the applications that execute runs over NATS: a courier for each NATS server that jobs name.
#pragma once
#include "nats/courier.h"
#include "pg/transaction.h"

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace pgbraid::job {

struct Way {
	std::unique_ptr<nats::Courier> courier;
	nats::ConnectionOptions options;
	std::string inbox; // where applications answer; the same for ever, so that they reach a later dispatcher too
	nats::Courier::Condition condition;
	uint64 outlived = 0; // errors, since somebody has answered after them
	bool is_open() const { return condition.connected; }
};

class Routes {
public:
	explicit Routes(int event_fd) : event_fd_(event_fd) {}

	// Reads again what jobs there are, and how their servers are reached. In no transaction; throws what keeps it from
	// reading; trouble with one server is not such a thing.
	void read();
	// Reads it again at the next step, if a server or user mapping has changed.
	static bool servers_changed();

	// How the couriers are; the jobs of those that have a new connection, whose offers are gone, are handed to `anew`.
	void look(const std::function<void(int64)> &anew);

	Way *of_job(int64 job); // nullptr where there is none
	void for_each(const std::function<void(Way &)> &f);
	std::vector<int64> closed_jobs() const; // that can't be reached now
	std::optional<pg::Caught> trouble() const;

	void stop() noexcept;

private:
	using Key = std::pair<std::string, Oid>; // a server and whose user mapping
	void open(const Key &key);

	int event_fd_;
	std::map<Key, Way> ways_;
	std::map<int64, Key> jobs_;
	std::map<Key, pg::Caught> troubles_; // of servers that are not even tried
};

} // namespace pgbraid::job
