// The initial snapshot: every row that the tables of the publication hold as of the slot's start.
#pragma once
#include "flow/source/decoder.h"

#include <functional>
#include <string>
#include <vector>

namespace pgbraid::flow {

// In the transaction that has the slot's snapshot. Rows get the positions (lsn, 1), (lsn, 2), ...
// Calls `each_row` after each, with how many there have been.
void publish_snapshot(Decoder &decoder, const std::string &publication, core::Lsn lsn,
					  const std::function<void(uint64_t rows)> &each_row);

// Every subject pattern that the publication's present tables need; wildcards where it is open to tables to come.
std::vector<std::string> subjects_of(const std::string &publication, const core::SubjectTemplate &subject,
									 const std::string &database);

} // namespace pgbraid::flow
