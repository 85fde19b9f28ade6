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

// One row for each verb: what does it, and what else depends on which verb it is.
struct VerbTraits {
	Verb verb;
	const char *name; // for pgbraid.branch_operation and pgbraid.stat_branch
	Outcome (*carry_out)(const Request &request);
	bool makes_databases; // so that it needs CREATEDB
	bool leaves_work;	  // for the keeper
};
const VerbTraits &traits_of(Verb verb);

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
