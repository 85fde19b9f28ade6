#include "flow/source/durability.h"

#include "pg/wal.h"
#include "worker/process.h"

extern "C" {
#include "access/xlog.h"
#include "utils/timestamp.h"
}

#include <algorithm>

namespace pgbraid::flow {

namespace {

// A standby that answers is not worth a word.
constexpr int patience_ms = 1000;

constexpr long soon_ms = 10, later_ms = 100;

} // namespace

Durability::Durability(std::string flow, bool standbys, bool slots) : flow_(std::move(flow)), standbys_(standbys)
{
	if (slots)
		slots_ = pg::StandbySlots::of_setting();
}

bool Durability::reaches(core::Lsn lsn)
{
	if (lsn <= end_)
		return true;
	core::Lsn end = std::max(end_, look_up());
	bool is_here = GetFlushRecPtr(nullptr) >= lsn;
	if (std::exchange(end_, end) != end || end >= lsn || !is_here) {
		waiting_since_ = 0;
		if (end >= lsn)
			told_.clear();
	} else {
		wait_for_standbys();
	}
	return lsn <= end_;
}

core::Lsn Durability::look_up()
{
	core::Lsn end = pg::durable_wal_end(standbys_);
	core::Lsn end_of_slots = slots_.end();
	slots_are_last_ = end_of_slots < end;
	return std::min(end, end_of_slots);
}

void Durability::wait_for_standbys()
{
	TimestampTz now = GetCurrentTimestamp();
	if (waiting_since_ == 0)
		waiting_since_ = now;
	if (!TimestampDifferenceExceeds(waiting_since_, now, patience_ms))
		return;
	if (!slots_are_last_)
		tell("flow \"" + flow_ + "\" waits for synchronous standbys",
			 "See pg_stat_replication, and the settings synchronous_standby_names and pgbraid.flow_wait_for_standbys.");
	else if (*slots_.fault() != 0)
		tell("flow \"" + flow_ + "\" waits for the standby of slot \"" + slots_.name() + "\", which " + slots_.fault(),
			 "Start the standby, or amend the setting synchronized_standby_slots.");
	else
		tell("flow \"" + flow_ + "\" waits for the standby of slot \"" + slots_.name() + "\"",
			 "See pg_stat_replication, and the setting synchronized_standby_slots.");
}

// Once for each trouble, until it is over.
void Durability::tell(const std::string &message, const char *hint)
{
	if (std::exchange(told_, message) == message)
		return;
	worker::set_trouble(worker::self(), "55000", message.c_str(), hint);
	ereport(LOG, (errmsg("%s", message.c_str()), errhint("%s", hint)));
}

core::Lsn Durability::flush()
{
	return pg::call([] {
		XLogRecPtr end = pg::wal_end();
		XLogFlush(end);
		return end;
	});
}

long Durability::look_again_ms() const noexcept
{
	bool is_long =
		waiting_since_ != 0 && TimestampDifferenceExceeds(waiting_since_, GetCurrentTimestamp(), patience_ms);
	return GetXLogInsertRecPtr() > end_ && !is_long ? soon_ms : later_ms;
}

} // namespace pgbraid::flow
