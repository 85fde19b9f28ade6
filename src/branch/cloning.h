// The files of a database as clones (FICLONE): they share their blocks on the disk with the original until one of them
// is written. Only where the file system can; Btrfs does, and XFS that was made with reflink.
//
// A clone is taken under the locks of both files that a write takes, so that no page in it is torn. Nothing of it is in
// WAL but one record for each tablespace, which has the server copy the directory where it is replayed. Crash recovery
// must never do that, since the original is another one by then: hence sync_clones() and a checkpoint before the
// transaction commits that makes the copy valid. A page of a clone has not been in WAL before, either, so that the
// first change of it has to be logged with an image of it: the checkpoint sees to that as well.
#pragma once
#include "branch/relations.h"
#include "branch/wal_check.h"

#include <functional>
#include <vector>

namespace pgbraid::branch {

std::vector<Oid> tablespaces_of(const std::vector<Stored> &relations); // each once

bool has_contents(const Stored &relation); // a file that is not empty; it may be gone by now

// Tries it, with a file of the relation, where the copy will have its own.
bool can_clone(const Stored &relation, Oid copy);

// Writes what shared buffers have of this database to its files. `eagerly`: and those to the disk, which a clone would
// wait for.
void write_out(const std::vector<Oid> &tablespaces, bool eagerly);

// All forks and segments, of a relation whose buffers have been written out and which stands still. Not synchronised.
// `progress` is told of bytes, and may throw.
void clone_relation(const Stored &relation, Oid copy, const std::function<void(int64)> &progress);

// For who replays WAL: after the last clone, while the database still stands still.
void log_clones(Oid copy, const std::vector<Oid> &tablespaces);

// A page that was pruned while the files were cloned: a clone may have it as it was before, and who replays the record
// has it as it was after that. An image of what the clone has makes them the same. After log_clones().
void log_pruned(const PageNumber &page, Oid copy);

// All of them, and their directories, are on disk afterwards.
void sync_clones(const std::vector<Stored> &relations, Oid copy);

} // namespace pgbraid::branch
