// The subjects that a flow publishes to.
#pragma once
#include "core/flow/subject.h"
#include "pg/prelude.h"

#include <string>
#include <vector>

namespace pgbraid::flow {

// Every subject pattern that the publication's present tables need; wildcards where it is open to tables to come. In an
// open transaction.
std::vector<std::string> subjects_of(const std::string &publication, const core::SubjectTemplate &subject,
									 const std::string &database);

} // namespace pgbraid::flow
