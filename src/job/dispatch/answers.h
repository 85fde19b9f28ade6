// What applications say of the runs that they were offered, and what they are answered, once that is committed.
#pragma once
#include "catalog/dispatch.h"
#include "nats/courier.h"

#include <string>
#include <vector>

namespace pgbraid::job {

struct Answers {
	std::vector<nats::Letter> letters;
	std::vector<catalog::Answered> done; // that changed something
};

// All in one transaction. Where one can't be dealt with, each in its own; its sender is told why, or, where it may work
// the next time, nothing, so that it asks again.
Answers answer(const std::vector<nats::Connection::Heard> &messages);

std::string to_text(const pg_uuid_t &token);

} // namespace pgbraid::job
