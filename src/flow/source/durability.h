// How far WAL may be told to others: what is on disk, here and on the standbys that may take over.
#pragma once
#include "core/flow/position.h"
#include "pg/standby_slots.h"

#include <string>

extern "C" {
#include "datatype/timestamp.h"
}

namespace pgbraid::flow {

class Durability {
public:
	// With `standbys`, synchronous standbys are waited for, if there are any; with `slots`, also those of
	// synchronized_standby_slots.
	Durability(std::string flow, bool standbys, bool slots);

	// Is WAL durable up to `lsn`? Says in pgbraid.stat_flow, and in the log, who is being waited for when that takes
	// long.
	bool reaches(core::Lsn lsn);

	// Has all that was inserted here until now on disk here, and returns where that ends.
	static core::Lsn flush();

	// When to look again: nothing wakes a flow for what others have written to disk.
	long look_again_ms() const noexcept;

private:
	core::Lsn look_up();
	void wait_for_standbys();
	void tell(const std::string &message, const char *hint);

	std::string flow_;
	bool standbys_;
	pg::StandbySlots slots_;
	core::Lsn end_ = 0;
	bool slots_are_last_ = false; // of all, they are the furthest behind
	TimestampTz waiting_since_ = 0;
	std::string told_;
};

} // namespace pgbraid::flow
