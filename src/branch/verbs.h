// What can be done to the branches of a family. Each runs in a process of its own, between transactions, and throws
// what it refuses or fails with.
#pragma once
#include "branch/operations.h"

#include <string>

namespace pgbraid::branch {

struct Outcome {
	Oid database = InvalidOid;
	std::string notice = {};
};

Outcome init(const Request &request);
Outcome take_snapshot(const Request &request);
Outcome create(const Request &request);
Outcome make_spare(const Request &request);

Outcome checkout(const Request &request);
Outcome reset(const Request &request);

Outcome drop(const Request &request);
Outcome undo(const Request &request);

Outcome rename(const Request &request);
Outcome set_protection(const Request &request);
Outcome describe(const Request &request);
Outcome set_spares(const Request &request);

} // namespace pgbraid::branch
