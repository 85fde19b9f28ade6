// What SQL asks for.
#pragma once
#include "branch/operations.h"

namespace pgbraid::branch {

// From the arguments of pgbraid.branch_operation.
Request request_from(FunctionCallInfo fcinfo);

// Throws if the role may not ask for that, or not now.
void check(const Request &request);

} // namespace pgbraid::branch
