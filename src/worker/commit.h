// What every backend does for us at commit: wakes the flows of its database, and the manager if the catalog changed.
#pragma once

namespace pgbraid::worker {

void install_commit_hooks(); // in _PG_init

// The running transaction changes what workers there should be; they hear of it when it commits.
void note_catalog_change() noexcept;

} // namespace pgbraid::worker
