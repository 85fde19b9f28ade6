#include "worker/retention.h"

#include "pg/transaction.h"

#include <string>

namespace pgbraid::worker {

Verdict judge_retention(const catalog::Flow &flow, Entry &entry)
{
	if (flow.wal_limit == 0)
		return Verdict::none;
	int64 retained = pg::in_transaction("looking at retained WAL", [&] { return catalog::retained_wal(flow.id); });
	bool was_over = std::exchange(entry.over_wal_limit, retained > flow.wal_limit);
	if (!entry.over_wal_limit)
		return Verdict::none;
	if (!was_over) {
		std::string message = "flow \"" + flow.name + "\" retains " + std::to_string(retained) +
							  " bytes of WAL, more than its limit of " + std::to_string(flow.wal_limit);
		std::string hint = flow.wal_policy == "drop"
							   ? "Its replication slot is dropped; pgflow_resume(..., restart => true) begins anew."
							   : "See why it does not publish, or raise its option wal_limit.";
		set_trouble(entry, "53100", message.c_str(), hint.c_str());
		ereport(WARNING, (errcode(ERRCODE_DISK_FULL), errmsg("%s", message.c_str()), errhint("%s", hint.c_str())));
	}
	return flow.wal_policy == "drop" ? Verdict::drop : flow.wal_policy == "pause" ? Verdict::pause : Verdict::none;
}

} // namespace pgbraid::worker
