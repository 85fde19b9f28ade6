// Another database with the contents of this one. In two steps, so that a crash leaves nothing that nobody knows of: a
// row in pg_database that says that it is being made is committed first; the files, and the row that makes it valid,
// come in a second transaction.
#pragma once
#include "branch/operations.h"

#include <functional>
#include <string>

namespace pgbraid::branch {

// The first transaction: `prepare` looks up names and refuses what can't be, and returns the name of the database and
// its label, as a JSON object.
struct Intent {
	std::string database, label;
};
Oid begin_copy(const std::function<Intent()> &prepare);

// The second one; this process is connected to the source. Tries again until request.timeout_ms has passed, and then
// throws 55006 and says what was in the way. `sealed`: a snapshot, which nobody connects to. `finish` runs in the
// transaction that completes it, and is told whether its files are clones. What is left after a failure is removed.
using Finish = std::function<void(bool is_cloned)>;
void complete_copy(Oid copy, bool sealed, const Finish &finish);

// Drops a copy that was not completed, a spare, or trash that has been there since `trashed_before`, and ends who is
// connected to it; anything else it leaves alone. Throws what went wrong.
void remove_database(Oid database, TimestampTz trashed_before);

} // namespace pgbraid::branch
