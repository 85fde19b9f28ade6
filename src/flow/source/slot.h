// The replication slot of a flow: made, found, read from, confirmed.
#pragma once
#include "core/flow/position.h"
#include "pg/boundary.h"

#include <string>

struct LogicalDecodingContext;

namespace pgbraid::flow {

enum class SlotState { missing, usable, invalidated };
SlotState find_slot(const std::string &name); // in an open transaction

// Our own output plugin may be used in this process. (PostgreSQL refuses libraries that output_plugin_libraries does
// not list; whoever preloads pgbraid has decided to trust it, and this opens nothing to any other session.)
void allow_own_plugin();

// Waits until WAL is on disk up to the LSN; called when PostgreSQL's reader needs what is not there yet.
using WaitForWal = void (*)(core::Lsn lsn);

// Makes the slot; waits for the transactions that run to end, so that whatever commits later will be given whole.
// `failover`: standbys may keep a copy of it, to go on from after a promotion. An error (0A000) before PostgreSQL 17.
void create_slot(const std::string &name, bool failover, WaitForWal wait);
void set_failover(const std::string &name, bool failover);

void drop_slot(const std::string &name);

// Reads the slot from its confirmed position on; the callbacks of our output plugin see the changes.
class SlotReader {
public:
	SlotReader(const std::string &name, WaitForWal wait);

	// Decodes one WAL record. Transactions are handed to the output plugin when their commit record is read.
	void read();

	core::Lsn end() const noexcept;		  // of the last record read
	core::Lsn confirmed() const noexcept; // of the slot

	// The slot need not give anything that committed before `lsn` again. Monotonic.
	void confirm(core::Lsn lsn);
	void save(); // to disk

private:
	LogicalDecodingContext *context_;
};

} // namespace pgbraid::flow
