// What is taken away by a drop or a reset.
#pragma once
#include "branch/family.h"
#include "catalog/databases.h"

namespace pgbraid::branch {

using catalog::Access;

// A stranger's, a protected one, one with subscriptions, or (unless forced) with replication slots.
void refuse_throwing_away(const Request &request, const Member &member);

// Its name is free from here on, and nobody connects to it. `by`: drop or reset.
void throw_away(const Family &family, const Member &member, const char *by);

} // namespace pgbraid::branch
