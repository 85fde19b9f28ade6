// How the files of a copy are made: cloned, or page by page through WAL.
#pragma once
#include "branch/operations.h"

namespace pgbraid::branch {

// Whether they are to be cloned, in an open transaction, before the database comes to rest. Where a clone is asked for
// and can't be: 0A000, a file system can't; 55000, somebody replays WAL, who would have to copy the files in full.
bool chooses_clone(Method wanted, Oid copy);

// 55006 if somebody does by now. Asked again when the record of the clone is in WAL.
void check_nobody_replays();

} // namespace pgbraid::branch
