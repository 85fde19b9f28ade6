// Sessions that stay on a database which has lost its name to another one.
#pragma once
#include "branch/operations.h"

#include <string>

namespace pgbraid::branch {

// Ends them as the request says, but not the one that asked: those that are idle at once, the others after
// request.deadline_ms. Says in a sentence who is left, or "".
std::string settle_sessions(const Request &request, Oid database, const std::string &branch);

// 55006, with their pids, unless forced.
void refuse_sessions(const Request &request, Oid database, const std::string &name);

// Ends all of them, and our workers there.
void end_sessions(Oid database);

} // namespace pgbraid::branch
