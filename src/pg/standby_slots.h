// The physical slots that the setting synchronized_standby_slots names: standbys that have copies of our logical slots
// and may be promoted. PostgreSQL's own walsenders wait for them too, before they send what a failover slot gives.
#pragma once
#include "pg/boundary.h"

#include <string>
#include <vector>

extern "C" {
#include "access/xlogdefs.h"
}

namespace pgbraid::pg {

class StandbySlots {
public:
	StandbySlots() = default; // none
	static StandbySlots of_setting();

	// Their standbys have WAL on disk up to here; the highest position there is if there are none. 0 if one of them
	// can't tell.
	XLogRecPtr end();

	// Which one end() was limited by, and what is wrong with it; "" if it is merely behind.
	const std::string &name() const noexcept { return name_; }
	const char *fault() const noexcept { return fault_; }

private:
	std::vector<std::string> slots_;
	std::string name_;
	const char *fault_ = "";
};

} // namespace pgbraid::pg
